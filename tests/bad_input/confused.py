"""What a newcomer types by mistake: things of another kind, words of another command, names with other letters."""

from tests.bad_input.case import HARMFUL, RECIPE, ROW, Case, lines

_RUN = {"my run/recipe.yaml": RECIPE, "my run/manifest.json": '{"status": "started"}', "my run/eval/x": ""}
_STUDY = "title: t\nmodels: smollm2-135m\nmethods: nope\nsuites: smoke\n"

KINDS = [
    Case("a-program-as-csv", ("build-data", "--source", "p.csv"), ("p.csv:1", "NUL", "not a text file"), {"p.csv": b"\x7fELF\xff\0"}),
    Case("data-as-recipe", ("train", "--recipe", "d.jsonl", "--data", "smollm2-135m"), ("d.jsonl", "A recipe is much smaller"), {"d.jsonl": lines(ROW) * 400}),
    Case("a-run-as-recipe", ("recipes", "show", "my run"), ("'my run/recipe.yaml'",), _RUN),
    Case("a-part-of-a-run", ("runs", "show", "my run/eval"), ("not a run folder", "Did you mean", "my run'?"), _RUN),
    Case("a-file-of-a-run", ("export", "my run/recipe.yaml"), ("no such run", "Did you mean", "my run'?"), _RUN),
    Case("a-file-as-folder-of-a-study", ("study", "plan", "smoke", "--out", "d.jsonl"), ("d.jsonl: is a file", "--out"), {"d.jsonl": lines(ROW)}),
    Case("one-word-for-a-list", ("study", "plan", "s.yaml"), ("methods.nope.style: 'nope' is not known",), {"s.yaml": _STUDY}),
]  # fmt: skip
NAMES = [
    Case("capital-letters", ("recipes", "show", "R1-7B"), ("Did you mean 'r1-7b'?",)),
    Case("a-choice-in-capitals", ("study", "table", "smoke", "--format", "CSV"), ("Did you mean 'csv'?",)),
    Case("a-near-file", ("build-data", "--source", "daten.csv"), ("no such file", "Did you mean 'data.csv'?"), {"data.csv": ""}),
    Case("no-file", ("build-data", "--audit", "zz.jsonl"), ("no such file", "It was looked for in /")),
    Case("no-folder", ("build-data", "--audit", "zz/zz.jsonl"), ("no such file", "There is no folder zz")),
]  # fmt: skip
OPTIONS = [
    Case("an-option-of-a-sibling", ("study", "smoke", "--format", "csv"), ("of: alttrain study table", "See: alttrain study --help")),
    Case("an-option-of-the-first", ("eval", "judges", "--suite", "smoke"), ("of: alttrain eval.", "alttrain eval judges --help")),
    Case("a-model-without-option", ("doctor", "smollm2-135m"), ("--model smollm2-135m",)),
    Case("a-percentage", ("calibrate", "run", "--over-refusal", "10"), ("0.10 for 10%",)),
    Case("a-word-as-number", ("study", "plan", "smoke", "--price", "free"), ("it must be a valid number. See",)),
    Case("no-file-to-copy-to", ("recipes", "copy", "r1-7b"), ("For example: alttrain recipes copy r1-7b own.yaml",)),
    Case("one-run-to-compare", ("runs", "compare", "my run"), ("Name two runs",), _RUN),
    Case("a-command-of-others", ("recipes", "rm", "r1-7b"), ("No such command 'rm'. See: alttrain recipes --help",)),
    Case("too-many-steps", ("train", "--recipe", "smollm2-135m", "--data", "d.jsonl", "--set", "train.max_steps=99999999999"), ("a number from 1 to 1,000,000,000",), {"d.jsonl": lines(ROW, HARMFUL)}),
    Case("judge-without-model", ("eval", "judge"), ("To evaluate a base model: alttrain eval smollm2-135m",)),
]  # fmt: skip
CASES = [*KINDS, *NAMES, *OPTIONS]
