"""The model card of a run: its facts, what was not tested, and what it must never hold."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine.licence import licence_of
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.model_card import ModelCard
from alttrain_cli.runs.reproduction import reproduce
from alttrain_cli.storage.data_manifest import DataManifest
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.licence import Licence
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.storage.run_records import BaseRecord, DataRecord, LossRecord, Manifest, RefusalRecord
from alttrain_cli.training.rows import TrainingRows
from alttrain_cli.training.run_setup import initial_manifest
from tests.samples import TRACE, put
from tests.scorecards import before_and_after, card_of
from tests.test_help import context_of

RECIPE = Recipe.load("smollm2-135m")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "runs" / "mine", RECIPE.name, RECIPE.to_yaml())
    facts = {
        "seed": 7, "sha256": "d" * 64,
        "sources": [{"name": "starter", "rows": 40, "style": "alttrain", "annotator": "template"}],
    }  # fmt: skip
    write_json(tmp_path / "own.manifest.json", facts)
    made.update_manifest(
        status="finished", alttrain="0.1.0", recipe="smollm2-135m", overrides=["train.seed=3"],
        base=BaseRecord(name=RECIPE.model.name, commit="c" * 40), template="t" * 64, steps=12,
        data=DataRecord(
            path=str(tmp_path / "own.jsonl"), sha256="d" * 64, rows=40, labels={"harmful": 20, "benign": 20}
        ),
        loss=LossRecord(first=3.5, last=1.25),
        probes=RefusalRecord(
            n=12, structured=11, asked={"harmful": 6, "benign": 6}, refused={"harmful": 6, "benign": 1}
        ),
    )  # fmt: skip
    return made


def card(run: Run, **changes: Any) -> str:
    values: dict[str, Any] = {"library": "peft", "licence": Licence("apache-2.0"), **changes}
    return ModelCard.of(run, RECIPE, **values).text()


def metadata(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return found


def test_the_card_holds_what_was_trained_on_what(run: Run) -> None:
    text = card(run)
    for fact in (
        "mine",
        "c" * 40,
        "t" * 64,
        "d" * 64,
        "train.seed=3",
        "20 harmful, 20 benign",
        "3.500 to 1.250",
    ):
        assert fact in text, fact
    assert "11 of 12 have all required sections; refused: 6 of 6 harmful, 1 of 6 benign" in text
    assert metadata(text)["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert metadata(text)["license"] == "apache-2.0"


def test_the_card_names_no_path_of_this_machine(run: Run, tmp_path: Path) -> None:
    here = RECIPE.changed({"model": {"name": str(tmp_path / "my-model"), "package": None}})
    run.update_manifest(overrides=[f"model.name={tmp_path / 'my-model'}", "train.seed=3"])
    text = ModelCard.of(run, here, "peft", None).text()
    assert str(tmp_path) not in text
    assert "my-model, fine-tuned" in text
    assert "base_model" not in metadata(text)


def test_a_folder_that_is_called_like_an_id_of_the_hub_is_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = RECIPE.changed({"model": {"name": "models/mine", "package": None}})
    run.update_manifest(overrides=["model.name=models/mine"])
    assert metadata(ModelCard.of(run, here, "peft", None).text())["base_model"] == "models/mine"
    (tmp_path / "models" / "mine").mkdir(parents=True)
    text = ModelCard.of(run, here, "peft", None).text()
    assert "base_model" not in metadata(text)
    assert "models/mine" not in text


def test_without_an_evaluation_nothing_is_claimed_and_everything_was_not_tested(run: Run) -> None:
    text = card(run)
    assert "not evaluated" in text
    missing = text.partition("## Not tested")[2]
    for words in ("harmful requests", "over-refusal", "other abilities", "several turns", "that adapt"):
        assert words in missing


def test_dialogues_that_are_in_no_rate_are_counted_on_the_card(run: Run) -> None:
    sides, compared = before_and_after(run.path / "stages")
    values = card_of(sides[:2], compared).record()
    values["suites"][0]["attack"] = {"facts": {}, "target": {"outcomes": {"held": 5, "attacker_failed": 3}}}
    write_json(run.path / "eval" / "scorecard.json", values)
    assert "| dialogues that are in no rate | 3 of 8 |  | 8 |" in card(run)


@pytest.mark.parametrize(
    ("facts", "tested"),
    [
        ({"flow": "escalation", "attacker": "base"}, ["several turns", "that adapt"]),
        ({"flow": "paraphrase", "attacker": "base"}, ["that adapt"]),
        ({"flow": "script", "attacker": None}, ["several turns"]),
        ({"flow": "escalation", "attacker": "base", "recorded": "other"}, ["several turns"]),
        ({"flow": "repetition", "attacker": None}, []),
    ],
)
def test_what_an_attack_has_tested_is_not_called_untested(
    run: Run, facts: dict[str, str | None], tested: list[str]
) -> None:
    sides, compared = before_and_after(run.path / "stages")
    values = card_of(sides[:2], compared).record()
    values["suites"][0]["attack"] = {"facts": facts, "target": {"outcomes": {"held": 5}}}
    write_json(run.path / "eval" / "scorecard.json", values)
    missing = card(run).partition("## Not tested")[2]
    assert [words for words in ("several turns", "that adapt") if words not in missing] == tested


def test_the_scorecard_is_on_the_card_with_intervals_and_the_rest_was_not_tested(run: Run) -> None:
    sides, compared = before_and_after(run.path / "stages")
    write_json(run.path / "eval" / "scorecard.json", card_of(sides[:2], compared).record())
    text = card(run)
    measured, _, missing = text.partition("## Evaluation")[2].partition("## Not tested")
    assert "| suite | rate | this model | baseline | prompts |" in measured
    assert "(" in measured.split("% ")[1]
    assert text.endswith("\nalttrain eval runs/again --suite h,b\n```\n")  # the suites of the table
    assert "harmful requests" not in missing
    score = json.loads((run.path / "eval" / "scorecard.json").read_text())
    for suite in score["suites"]:
        suite["target"]["structure"]["structured"].update(hits=0, n=0)
    write_json(run.path / "eval" / "scorecard.json", score)
    assert "all sections" in measured
    assert "all sections" not in card(run)
    assert "other abilities" in missing


def test_a_friend_reads_on_the_card_how_to_load_the_folder(run: Run) -> None:
    for library, command in (
        ("peft", "alttrain chat FOLDER"),
        ("transformers", "vllm serve FOLDER"),
        ("gguf", "llama-server --jinja -m FILE"),
    ):
        text = ModelCard.of(run, Recipe.load(str(run.recipe_path)), library, None).text()
        assert command in text.partition("## Use")[2]
    assert "| system prompt | none |" in text


def test_a_licence_that_is_not_known_is_not_made_up(run: Run) -> None:
    text = card(run, licence=None)
    assert "license" not in metadata(text)
    assert "not stated" in text


def test_a_licence_that_is_not_on_the_hubs_list_is_other_with_its_name(run: Run) -> None:
    text = card(run, licence=Licence("other", "own-terms", TERMS))
    keys = {key: value for key, value in metadata(text).items() if key.startswith("license")}
    assert keys == {"license": "other", "license_name": "own-terms", "license_link": TERMS}
    assert "| licence of the base model | own-terms |" in text


def test_a_data_manifest_of_other_rows_is_not_used(run: Run, tmp_path: Path) -> None:
    write_json(tmp_path / "own.manifest.json", {"sha256": "other", "sources": [{"name": "starter"}]})
    assert "--source FILE" in card(run)


def test_the_data_is_found_from_every_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = run.manifest().data
    assert record is not None
    run.update_manifest(data=record.model_copy(update={"path": "own.jsonl"}))
    for folder in (tmp_path, run.path):
        monkeypatch.chdir(folder)
        assert "--source starter --seed 7" in card(run)


@pytest.mark.parametrize(
    "words",
    [
        ["--source", "t.jsonl:1", "--style", "original", "--label", "unknown", "--mix", "m.jsonl"],
        ["--source", "starter:harmful=8,benign=4", "--style", "no-pu"],
    ],
)
def test_the_command_for_the_data_builds_the_same_rows(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "t.jsonl", {"prompt": "How do I boil an egg?", "response": TRACE})
    put(tmp_path / "m.jsonl", {"prompt": "2+2?", "response": TRACE})
    CliRunner().invoke(app, ["build-data", *words, "--seed", "5", "--out", "rows.jsonl"])
    rows = Path("rows.jsonl").read_bytes()
    labels = json.loads(Path("rows.manifest.json").read_text())["labels"]
    data = DataRecord(path="rows.jsonl", sha256=hashlib.sha256(rows).hexdigest(), labels=labels)
    run.update_manifest(data=data)
    line = next(line for line in card(run).splitlines() if line.startswith("alttrain build-data"))
    CliRunner().invoke(app, shlex.split(line)[1:])
    assert Path("data.jsonl").read_bytes() == rows


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_run_keeps_where_its_rows_come_from_also_when_it_is_resumed_and_moved(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_deleted: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--source", "starter:harmful=8,benign=4", "--seed", "5")
    CliRunner().invoke(app, ["build-data", *words, "--out", "rows.jsonl"])
    rows = TrainingRows.read(Path("rows.jsonl"))
    run.update_manifest(**initial_manifest(RECIPE, rows, (), Manifest.missing()))
    if is_deleted:
        Path("rows.manifest.json").unlink()
    run.update_manifest(**initial_manifest(RECIPE, rows, (), run.manifest()))
    Path("rows.jsonl").unlink()
    kept = run.manifest_path.read_text()
    assert not [row.id for row in rows.rows if row.prompt in kept or row.understanding[:20] in kept]
    moved = Run(run.path.rename(tmp_path / "moved"))
    assert "| source | starter: 12 rows, style alttrain, annotator template |" in card(moved)
    assert f"alttrain build-data {' '.join(words)} --out data.jsonl" in card(moved)


def test_the_manifest_of_other_rows_is_not_kept(tmp_path: Path) -> None:
    put(tmp_path / "d.jsonl", *(row.model_dump() for row in starter_rows("train")[:2]))
    write_json(tmp_path / "d.manifest.json", {"sha256": "other", "sources": [{"name": "starter"}]})
    rows = TrainingRows.read(tmp_path / "d.jsonl", allow_one_label=True)
    record = initial_manifest(RECIPE, rows, (), Manifest.missing())["data"]
    assert "manifest" not in record.record()


SOURCES: list[tuple[dict[str, Any], str]] = [
    # what data.manifest.json says of a source, and the words that build its rows again
    ({"name": "me/set", "revision": "abc", "wanted": 9}, "--source me/set@abc:9"),
    ({"name": "safechain", "revision": "abc", "sha256": "0"}, "--source safechain"),
    ({"name": "a.csv", "columns": {"prompt": "q"}, "label": "harmful"}, "--source a.csv --columns prompt=q --label harmful"),
    (
        {"name": "a.csv", "annotator": "org/big", "trust": "label"},
        "--source a.csv --annotator endpoint --on-disagreement label --base-url http://localhost:8000/v1 --model org/big",
    ),
    (
        {"name": "a.csv", "annotator": "template", "traces": "small"},
        "--source a.csv --generate-traces endpoint --base-url http://localhost:8000/v1 --model small",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "words"), SOURCES)
def test_the_command_for_the_data_names_what_decided_its_rows(
    run: Run, source: dict[str, Any], words: str
) -> None:
    manifest = DataManifest.model_validate({"seed": 7, "sources": [source]})
    line = next(reproduce(RECIPE, run.manifest(), manifest))
    assert line == f"alttrain build-data {words} --seed 7 --out data.jsonl"
    context_of(shlex.split(line)[1:], lenient=False)


def test_names_of_others_are_no_markup(run: Run) -> None:
    run.update_manifest(overrides=["model.system=<b>|x|](javascript:a)"])
    text = card(run).partition("```")[0]
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "\\](java" in text


TRAINING = [
    # the recipe of the run, its --set values, its labels, and the command that trains it again
    ((), (), ("harmful", "benign"), "--recipe smollm2-135m --data data.jsonl --out runs/again"),
    (
        ("train.seed=3",),
        ("train.seed=3", "data.seed=5"),
        ("harmful",),
        "--recipe smollm2-135m --set train.seed=3 --data data.jsonl --allow-one-label --out runs/again",
    ),
    (  # a file that has the name of a shipped recipe
        ("train.seed=3",),
        (),
        ("harmful", "benign"),
        f"--recipe {EXPORTED_RECIPE} --data data.jsonl --out runs/again",
    ),
    (
        ("train.seed=3",),
        ("train.seed=3", "train.no_longer_there=1"),
        ("unknown",),
        f"--recipe {EXPORTED_RECIPE} --data data.jsonl --allow-one-label --out runs/again",
    ),
]


@pytest.mark.parametrize(("settings", "overrides", "labels", "command"), TRAINING)
def test_the_command_for_the_training_has_the_settings_of_the_run(
    run: Run, settings: tuple[str, ...], overrides: tuple[str, ...], labels: tuple[str, ...], command: str
) -> None:
    data = DataRecord(path="own.jsonl", sha256="d" * 64, labels=dict.fromkeys(labels, 1))  # type: ignore[arg-type]
    run.update_manifest(overrides=list(overrides), data=data)
    recipe = Recipe.load("smollm2-135m", settings).pinned("c" * 40)
    assert list(reproduce(recipe, run.manifest(), None))[1] == f"alttrain train {command}"


def test_the_three_commands_are_command_lines_that_alttrain_reads(run: Run) -> None:
    lines = list(reproduce(RECIPE, run.manifest(), None))
    assert len(lines) == 3
    for line in lines:
        context_of(shlex.split(line.replace("--seed N", "--seed 1"))[1:], lenient=False)
    run.update_manifest(recipe="own")
    assert f"--recipe {EXPORTED_RECIPE}" in list(reproduce(RECIPE, run.manifest(), None))[1]


TERMS = "https://example.org/terms"
OWN = "---\nlicense: other\nlicense_name: own-terms\n"


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n# x", Licence("mit")),
        ("---\nlicense: other\n---\n", Licence("other")),
        (f"---\nlicense: other\nlicense_link: {TERMS}\n---\n", Licence("other", None, TERMS)),
        ("---\nlicense: ''\n---\n", None),
        ("---\nlicense: other\nlicense_name: own-terms\n---\n", Licence("other", "own-terms")),
        (f"{OWN}license_link: {TERMS}\n---\n", Licence("other", "own-terms", TERMS)),
        (f"{OWN}license_link: LICENSE\n---\n", Licence("other", "own-terms")),  # a file that stays there
        ("# no metadata", None),
        ("---\nlicense: [mit]\n---\n", None),
        ("---\n: [\n---\n", None),
        (None, None),
    ],
)
def test_the_licence_is_that_of_the_models_own_card(
    tmp_path: Path, text: str | None, licence: Licence | None
) -> None:
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    model = RECIPE.model.model_copy(update={"package": None})
    assert licence_of(model, ModelSource(str(tmp_path))) == licence


def test_a_licence_file_of_a_model_on_the_hub_is_named_by_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text(f"{OWN}license_link: LICENSE\n---\n")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(tmp_path / "README.md"))
    model = RECIPE.model.model_copy(update={"package": None})
    found = licence_of(model, ModelSource("a/b", "c" * 40))
    assert found
    assert found.metadata()["license_link"] == f"https://huggingface.co/a/b/resolve/{'c' * 40}/LICENSE"


def test_the_help_names_every_format() -> None:
    from alttrain_cli.export.formats import FORMATS

    shown = CliRunner().invoke(app, ["export", "--help"]).output
    assert all(name in shown for name in FORMATS)
