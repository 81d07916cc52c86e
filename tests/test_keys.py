"""Keys of completions and judgements: whatever shapes one is in its key, and nothing else is."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alttrain_cli.backends import fingerprints
from alttrain_cli.backends.base import Completion, Fingerprint, Request
from alttrain_cli.backends.conversation import Conversation, Message
from alttrain_cli.backends.remembering import RECORD, Remembering
from alttrain_cli.backends.target import Target
from alttrain_cli.engine.source import ModelSource
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.attacks.attack_record import AttackRecord
from alttrain_cli.evaluation.attacks.catalogue import Budget
from alttrain_cli.evaluation.attacks.setup import AttackSetup
from alttrain_cli.evaluation.completion import record
from alttrain_cli.evaluation.judge_run import JudgeRun, judge_instantly, judgements
from alttrain_cli.evaluation.judges.answers import WORD
from alttrain_cli.evaluation.judges.rule import RULE
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.suites.suite import Item, ProblemPlace, find_suites
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.storage.files import write_json
from alttrain_cli.storage.journal import Journal
from alttrain_cli.storage.long_lists import LongList
from alttrain_cli.storage.run import EXPORTED_RECIPE
from tests.scorecards import suite
from tests.scripted import ScriptedBackend

HERE = Fingerprint("n", "m", "w", "a", "t", "bfloat16", True, "cuda", {"torch": "2", "peft": "1"})
THERE = Fingerprint("n", "m", "w", server="http://h/v1")
SETTINGS = Sampling(
    max_new_tokens=9, do_sample=True, temperature=0.6, top_p=0.95, top_k=20, repetition_penalty=1.1
)
ITEM = Item("1", "Why?")
PLACE = ProblemPlace(file="/f/test5.jsonl", row=3, sha256="ab", function=None)
DOCUMENT = {"answer": ["Ann", "Mr \u00e9"], "n": 1.0}
TYPED: dict[str, tuple[Any, Any]] = {
    "stub": ("one", "two"),
    "problem": (PLACE, PLACE.model_copy(update={"row": 4})),
    "document": (DOCUMENT, {}),
}


def plan(**changes: Any) -> EvalPlan:
    values: dict[str, Any] = {
        **{"suite": suite("s", "harmful"), "target": HERE, "settings": SETTINGS, "mode": "normal"},
        **{"samples": 1, "published": 1, "items": (ITEM,), **changes},
    }
    return EvalPlan(**values)


def names_of(kind: Any) -> set[str]:
    """Return all fields, so that a new one cannot be forgotten here."""
    return {field.name for field in fields(kind)}


# --- completions of an evaluation

TARGET_CHANGES: dict[str, Any] = {
    **{"model": "m2", "weights": "w2", "adapter": None, "template": "t2", "dtype": "float32"},
    **{"quantised": False, "device": "cpu", "engine": {"torch": "2.1", "peft": "1"}, "server": "http://h/v1"},
}
SETTINGS_CHANGES: dict[str, list[Any]] = {
    **{"max_new_tokens": [10], "do_sample": [False], "temperature": [0.7, None], "top_p": [0.9, None]},
    **{"top_k": [21, None], "repetition_penalty": [1.2, None], "threshold": [0.7]},
}


def test_the_tables_below_name_every_field() -> None:
    assert names_of(Fingerprint) == TARGET_CHANGES.keys() | {"name"}
    assert set(Sampling.model_fields) == SETTINGS_CHANGES.keys()
    assert set(Item._fields) == {"prompt", "id", "category", "turns", *REFERENCES, *TYPED}
    assert names_of(EvalPlan) == {"suite", "target", "settings", "mode", "samples", "items"} | {
        "published", "caveats", "saved_keys", "order", "attack", "instruction", "command",
    }  # fmt: skip
    assert plan(command=("eval", "run")).keys == plan().keys


@pytest.mark.parametrize("name", TARGET_CHANGES)
def test_every_field_of_the_target_changes_the_key(name: str) -> None:
    assert plan(target=replace(HERE, **{name: TARGET_CHANGES[name]})).keys != plan().keys


@pytest.mark.parametrize("name", ["model", "weights", "server"])
def test_every_field_of_a_servers_target_changes_the_key(name: str) -> None:
    assert plan(target=replace(THERE, **{name: "other"})).keys != plan(target=THERE).keys


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in SETTINGS_CHANGES.items() for value in values]
)
def test_every_field_of_the_settings_changes_the_key(name: str, value: Any) -> None:
    assert plan(settings=SETTINGS.model_copy(update={name: value})).keys != plan().keys


def test_items_with_one_prompt_and_several_references_have_their_own_completions() -> None:
    items = [ITEM._replace(answer=answer) for answer in (None, "5", "4", "5")]
    assert len(set(plan(items=tuple(items)).keys)) == 3
    assert plan(items=tuple(items)).keys[0] == plan().keys[0]  # found again
    assert plan(items=(items[1],)).keys == plan().keys


@pytest.mark.parametrize("mode", ["zero", "less", "more"])
def test_every_thinking_mode_has_keys_of_its_own(mode: str) -> None:
    others = {plan(mode=other).keys[0] for other in ("normal", "zero", "less", "more") if other != mode}
    assert plan(mode=mode).keys[0] not in others


@pytest.mark.parametrize("prompt", ["Why not?", "why?", "Why? ", "Wh\u200by?"])
def test_every_character_of_the_prompt_is_in_the_key(prompt: str) -> None:
    assert plan(items=(Item("1", prompt),)).keys != plan().keys


ATTACK = AttackRecord("crescendo", "settings", 18, "base", "rule", "escalation")


def test_a_dialogue_s_key_has_the_attack_the_goal_and_the_turns() -> None:
    item = Item("1", "Why?", goal="g", turns=("a", "b"))
    usual = plan(attack=ATTACK, items=(item,)).keys
    others = [
        plan(items=(item,)),
        plan(attack=replace(ATTACK, settings="others"), items=(item,)),
        plan(attack=ATTACK, items=(item._replace(goal="h"),)),
        plan(attack=ATTACK, items=(item._replace(turns=("a\n\nb",)),)),
    ]
    assert not [one for one in others if one.keys == usual]
    assert plan(attack=replace(ATTACK, attacker="renamed"), items=(item,)).keys == usual


def test_a_plan_is_read_back_as_it_was_saved_and_tells_its_version(tmp_path: Path) -> None:
    item = Item("1", "Why?", goal="g", turns=("a", "b"))
    for saved in (plan(), plan(attack=ATTACK, items=(item,), caveats=("short",), order=("reasoning",))):
        saved.save(tmp_path)
        assert EvalPlan.load(tmp_path) == replace(saved, saved_keys=tuple(saved.keys))
        assert json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["version"] == 3


@pytest.mark.parametrize("layout", [{"indent": 4}, {"separators": (",", ":")}, {"indent": "\t"}], ids=str)
def test_only_a_plan_that_another_program_wrote_is_read_as_a_whole(
    layout: dict[str, Any], tmp_path: Path
) -> None:
    items = (ITEM, Item("2", "How?", turns=("a", "b")), Item("3", "Why?", answer="no"))
    plan(items=items, published=3, samples=2).save(tmp_path)
    file = tmp_path / "plan.json"
    ours = EvalPlan.load(tmp_path)
    assert isinstance(ours.items, LongList)
    assert isinstance(ours.saved_keys, LongList)
    before, requests = replace(ours, items=tuple(ours.items)), list(ours.requests)
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")), **layout), encoding="utf-8")
    theirs = EvalPlan.load(tmp_path)
    assert isinstance(theirs.items, tuple)
    assert theirs == replace(before, saved_keys=theirs.saved_keys)
    assert list(theirs.requests) == requests
    assert [request.item.id for request in requests] == ["1", "1", "2", "2", "3", "3"]
    with pytest.raises(DataError, match=r"plan\.json: was changed while it was read"):
        list(ours.requests)


def test_a_plan_keeps_the_keys_that_it_was_saved_with(tmp_path: Path) -> None:
    """A later version may make others, and what is stored has the old ones."""
    plan().save(tmp_path)
    file = tmp_path / "plan.json"
    write_json(file, {**json.loads(file.read_text(encoding="utf-8")), "saved_keys": ["made before"]})
    assert EvalPlan.load(tmp_path).keys == ["made before"]
    assert [one.key for one in EvalPlan.load(tmp_path).requests] == ["made before"]


class Model(ScriptedBackend):
    """A model with a fingerprint of its own."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._fingerprint = replace(HERE, **changes)
        self.name = self._fingerprint.name

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint


def dialogue(suite: str = "crescendo-smoke", **changes: Any) -> str:
    """Return the hash of all that shapes the dialogues of an attack, except the target."""
    [found] = find_suites(suite)
    values: dict[str, Any] = {"attacker": Model(), "judge": Model(model="j"), "budget": Budget(turns=4)}
    values = {**values, **changes}
    return AttackSetup(**{"refusal_judge": values["judge"], **values}).facts(found).settings


@pytest.mark.parametrize(
    "changes",
    [
        *({"attacker": Model(**{name: value})} for name, value in TARGET_CHANGES.items()),
        *({"judge": Model(**{"model": "j", name: value})} for name, value in TARGET_CHANGES.items()),
        {"judge": None},
        {"refusal_judge": None},
        {"refusal_judge": Model(model="k")},
        {"attacker_tokens": 7},
        {"budget": Budget(turns=5)},
        {"budget": Budget(turns=4, backtracks=1)},
        {"suite": "crescendo"},
    ],
    ids=range(2 * len(TARGET_CHANGES) + 7),
)
def test_all_that_shapes_a_dialogue_is_in_its_settings(changes: dict[str, Any]) -> None:
    assert dialogue(**changes) != dialogue()


def test_the_number_of_actors_and_of_streams_is_in_the_settings_of_the_attack_that_has_them() -> None:
    for name, budget in (("actors", Budget(4, actors=2)), ("pair-live", Budget(4, streams=2))):
        assert dialogue(name, budget=budget) != dialogue(name)
        assert dialogue("crescendo", budget=budget) == dialogue("crescendo")


@pytest.mark.parametrize(
    ("suite", "budget", "by_model", "by_rule"),
    [
        (
            "crescendo-smoke",
            Budget(turns=8),
            "4b5138f37138f19d13e88d7e120b2de3",
            "0153808772674c945c19366fc0ae0989",
        ),
        (
            "actors",
            Budget(backtracks=3),
            "7462299355ff1560d03c88143baca343",
            "f714e9d7f511ab45d96beaf0ea3e3f33",
        ),
        (
            "pair-live",
            Budget(streams=3),
            "5d11b49140813f19475a8e78e753d5f5",
            "ce2ff25d98403768648265bf25e3e1a8",
        ),
        ("pap-live", Budget(turns=5), "6ec0fd09375c9865f9749dbaa9bb55dd", "3f76b35415b25344906ec9529760a9bb"),
        ("pap-live", Budget(turns=2), "1c06656597cc08c222a7f09930034774", "a9ca289803291b92a463b2ea3d89b0e7"),
        ("opposite-day", Budget(), "8c45d7bf29eff02d9de4a2a2dfdebb11", "5847929053723e5246e2241acfd53803"),
        ("benign-turns", Budget(), "4a7cf5c277a079701162f11624f98101", "7b4fb7a223d731fc57f53a7549899cef"),
    ],
)
def test_dialogues_of_earlier_versions_with_smaller_budgets_and_one_judge_for_both_roles_are_found_again(
    suite: str, budget: Budget, by_model: str, by_rule: str
) -> None:
    """Their defaults were smaller. What they stored belongs to the same values as options."""
    assert dialogue(suite, budget=budget) == by_model
    assert dialogue(suite, budget=budget, judge=None) == by_rule


def test_a_control_of_which_another_sample_decided_is_made_again() -> None:
    """Up to version 3 a refusal decided, if it came first. The stored calls of the target are used again."""
    before = {"f05e6643a463672e7294576908950397", "b5280a7fbc32f8ca1efa899d500d66d3"}
    budget = Budget(turns=8)
    now = {dialogue("bare-goal", budget=budget), dialogue("bare-goal", budget=budget, judge=None)}
    assert not now & before


def test_a_refusal_judge_is_in_no_settings_of_an_attack_that_looks_for_no_refusals() -> None:
    assert dialogue("pair-live", refusal_judge=None) == dialogue("pair-live")


def test_what_the_models_of_an_attack_are_called_is_not_in_its_settings() -> None:
    assert dialogue(attacker=Model(name="renamed"), judge=Model(model="j", name="renamed")) == dialogue()
    unused = dialogue("safemtdata", attacker=Model()), dialogue("safemtdata", attacker=None)
    assert unused[0] == unused[1]  # recorded turns need no attacker


def test_every_sample_has_its_key_and_one_more_keeps_those_before() -> None:
    three = plan(samples=3).keys
    assert len(set(three)) == 3
    assert three[:2] == plan(samples=2).keys


@pytest.mark.parametrize(
    "changes",
    [
        {"target": replace(HERE, name="moved")},
        {"target": replace(HERE, engine={"peft": "1", "torch": "2"})},  # another order
        {"suite": suite("another", "benign", licence="MIT")},
        {"published": 99},
        {"caveats": ("a preset's",)},
        {"order": ("assessment", "understanding", "reasoning")},  # how completions are read, not written
        *(
            {"items": (ITEM._replace(**{name: "x"}),)}
            for name in sorted({*Item._fields} - {"prompt", *TYPED})
        ),
        *({"items": (ITEM._replace(**{name: values[0]}),)} for name, values in TYPED.items()),
    ],
    ids=str,
)
def test_nothing_else_changes_the_key(changes: Mapping[str, Any]) -> None:
    assert plan(**changes).keys == plan().keys


@pytest.mark.parametrize(
    ("found", "keys"),
    [
        (plan(samples=2), ["946f2be6c905", "d9bf591b920b"]),
        (plan(target=THERE, settings=Sampling(max_new_tokens=9, do_sample=False)), ["c604d866487f"]),
        (plan(mode="less"), ["154249bfeb6e"]),
    ],
)  # fmt: skip
def test_the_keys_of_runs_that_exist_stay_as_they_are(found: EvalPlan, keys: list[str]) -> None:
    """Completions of earlier versions are found again by these keys, so they never change."""
    assert [key[:12] for key in found.keys] == keys


# --- judgements

REFERENCES = ("answer", "tests", "goal", "task")
# grader -> an item as plan.json of version 2 has it, the same today, the key of its judgement in version 2
GRADED: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "code": (
        {"answer": "def f():\n", "tests": "def check(c): ...\n\ncheck(f)\n"},
        {"stub": "def f():\n", "tests": "def check(c): ...\n\ncheck(f)\n"},
        "556826d2f26e",
    ),
    "program": (
        {"tests": '{"file":"/f/test5.jsonl","row":3,"sha256":"ab","function":null}'},
        {"problem": PLACE},
        "fe524b22cce4",
    ),
    "lm-eval-f1": (
        {"answer": '{"answer": ["Ann", "Mr \u00e9"], "n": 1.0}', "task": "nq"},
        {"document": DOCUMENT, "task": "nq"},
        "8dad96ce2b86",
    ),
    "word": ({"answer": "4|four"}, {"answer": "4|four"}, "1844f42bff0f"),
}
RUN = JudgeRun(RULE, "answer", "m")
JUDGE_CHANGES: list[JudgeRun] = [
    replace(RUN, judge=replace(RULE, name="another")),
    replace(RUN, judge=replace(RULE, version="another")),
    replace(RUN, model="another"),
    replace(RUN, model=None),
    *(replace(RUN, part=part) for part in ("reasoning", "full")),
]


@pytest.mark.parametrize("other", JUDGE_CHANGES, ids=range(len(JUDGE_CHANGES)))
def test_judge_version_model_and_part_change_the_key_of_a_judgement(other: JudgeRun) -> None:
    assert other.key("k") != RUN.key("k")
    assert RUN.key("k2") != RUN.key("k")


def test_two_models_of_a_judge_never_share_a_file() -> None:
    names = {
        replace(RUN, model=model, part=part).name
        for model in (None, "a/b", "a--b")
        for part in ("answer", "full")
    }
    assert len(names) == 6
    assert {"rule", "rule@full", "rule~a--b", "rule~a--b@full"} < names


@pytest.mark.parametrize("name", REFERENCES)
def test_what_a_completion_is_compared_with_changes_the_key_of_a_judgement(name: str) -> None:
    keys = {RUN.key("k", ITEM._replace(**{name: value})) for value in (None, "one", "two", "")}
    assert len(keys) == 4
    assert RUN.key("k", ITEM._replace(**{name: "one"})) not in {
        RUN.key("k", ITEM._replace(**{other: "one"})) for other in REFERENCES if other != name
    }


@pytest.mark.parametrize("name", TYPED)
def test_code_problem_and_document_change_the_key_of_a_judgement(name: str) -> None:
    assert len({RUN.key("k", ITEM._replace(**{name: value})) for value in (None, *TYPED[name])}) == 3


@pytest.mark.parametrize("grader", GRADED)
def test_an_item_of_version_2_has_its_fields_and_its_keys_today(grader: Any, tmp_path: Path) -> None:
    before, values, key = GRADED[grader]
    item = ITEM._replace(**values)
    saved = plan(suite=suite("s", "ability", grader=grader), items=(item,))
    saved.save(tmp_path)
    assert EvalPlan.load(tmp_path).items == (item,)
    file = tmp_path / "plan.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    old = {"category": None, "answer": None, "tests": None, "goal": None, "task": None, **before}
    write_json(file, {**record, "items": [{"id": "1", "prompt": "Why?", **old}], "version": 2})
    read = EvalPlan.load(tmp_path)
    assert read.items == (item,)
    assert read.keys == saved.keys
    assert RUN.key("k", item)[:12] == key


@pytest.mark.parametrize(
    ("grader", "item", "says"),
    [
        ("code", {"stub": "def f():"}, "items.0.tests: must be text"),
        ("program", {"tests": "f.jsonl"}, "items.0.tests: must be a JSON object"),
        ("program", {}, "items.0.problem: must be a JSON object"),
        ("lm-eval", {"answer": "[4]", "task": "nq"}, "items.0.answer: must be a JSON object"),
        ("lm-eval", {"task": "nq"}, "items.0.document: must be a JSON object"),
        ("lm-eval", {"document": {}}, "items.0.task: must be text"),
        ("math", {"document": {}}, "items.0.answer: must be text"),
    ],
)
def test_an_item_without_what_its_grader_needs_is_named(
    grader: Any, item: dict[str, Any], says: str, tmp_path: Path
) -> None:
    plan(suite=suite("s", "ability", grader=grader)).save(tmp_path)
    file = tmp_path / "plan.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {**record, "items": [{"id": "1", "prompt": "Why?", **item}]})
    with pytest.raises(DataError, match=rf"{says}, the suite's grader needs it\. Delete "):
        EvalPlan.load(tmp_path)


@pytest.mark.parametrize("name", ["id", "prompt", "category"])
def test_nothing_else_of_an_item_changes_the_key_of_a_judgement(name: str) -> None:
    """The prompt is in the key of the completion already."""
    assert RUN.key("k", ITEM._replace(**{name: "x"})) == RUN.key("k", ITEM) == RUN.key("k")


def test_the_title_of_a_judge_changes_no_key_and_old_keys_stay() -> None:
    assert replace(RUN, judge=replace(RULE, title="another", triage=False)).key("k") == RUN.key("k")
    assert JudgeRun(RULE).key("k") == "b648e5ddbbb955d047adec2c638b572c"


def graded(folder: SuiteDir, answer: str) -> tuple[int, bool | None]:
    made = plan(suite=suite("s", "ability"), items=(Item("1", "2 + 2?", answer=answer),))
    made.save(folder.path)
    if not folder.completions.keys():
        [request] = made.requests
        folder.completions.append(record(request, Conversation.of("2 + 2?"), Completion("It is 4.")))
    count = judge_instantly(folder, made, WORD)
    return count, dict(judgements(folder, made, "word"))[made.keys[0]].correct


def test_a_corrected_answer_is_judged_again_and_a_kept_one_is_not(tmp_path: Path) -> None:
    folder = SuiteDir(tmp_path)
    assert graded(folder, "5") == (1, False)
    assert graded(folder, "5") == (0, False)
    assert graded(folder, "4") == (1, True)
    assert graded(folder, "5") == (0, False)  # its judgement is still there, and counts again


def test_items_with_one_prompt_are_each_judged_by_their_own_answer(tmp_path: Path) -> None:
    folder = SuiteDir(tmp_path)
    items = (Item("1", "2 + 2?", answer="5"), Item("2", "2 + 2?", answer="4"))
    made = plan(suite=suite("s", "ability"), items=items, published=2)
    made.save(folder.path)
    for request in made.requests:
        folder.completions.append(record(request, Conversation.of("2 + 2?"), Completion("It is 4.")))
    assert judge_instantly(folder, made, WORD) == 2
    found = dict(judgements(folder, made, "word"))
    assert [found[key].correct for key in made.keys] == [False, True]
    assert EvalPlan.load(folder.path).keys == made.keys


def folder_model(folder: Path) -> Any:
    """A model in a folder with an adapter on it, as the engine would have loaded them."""
    recipe = Recipe.load("smollm2-135m").changed({"model": {"name": str(folder), "package": None}})
    for name in ("config.json", "tokenizer.json", "model.safetensors", "adapter_model.safetensors"):
        (folder / name).write_text(name)
    config = {"r": recipe.lora.r, "lora_alpha": recipe.lora.lora_alpha, "use_rslora": False}
    write_json(folder / "adapter_config.json", config)
    target = Target("x", recipe, folder)
    model = SimpleNamespace(dtype="torch.float32")
    template = SimpleNamespace(fingerprint="t")
    return target, SimpleNamespace(
        template=template, device="cpu", source=ModelSource(str(folder)), quantised=False, model=model
    )


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", "another"),
        ("model.safetensors", "another"),
        ("adapter_model.safetensors", "another"),
        ("adapter_config.json", '{"r": 16, "lora_alpha": 64}'),
        ("adapter_config.json", '{"r": 16, "lora_alpha": 32, "use_rslora": true}'),
    ],
)
@pytest.mark.parametrize("run", [True, False])
def test_each_file_that_shapes_a_completion_changes_the_fingerprint(
    file: str, content: str, run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "alttrain_cli.engine.source.weight_files", lambda folder: [folder / "model.safetensors"]
    )
    target, loaded = folder_model(tmp_path)
    if run:  # with the recipe beside it, an adapter that is as it was trained has the hash of old runs
        (tmp_path / EXPORTED_RECIPE).touch()
    before = fingerprints.fingerprint_of(target, loaded)
    assert ("-" in str(before.adapter)) is not run
    (tmp_path / file).write_text(content)
    after = fingerprints.fingerprint_of(target, loaded)
    assert (after.weights, after.adapter) != (before.weights, before.adapter)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("template", {"template": SimpleNamespace(fingerprint="another")}),
        ("dtype", {"model": SimpleNamespace(dtype="torch.bfloat16")}),
        ("quantised", {"quantised": True}),
        ("device", {"device": "a GPU"}),
    ],
)
def test_what_a_loaded_model_is_computed_with_is_in_its_fingerprint(
    field: str, changes: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "alttrain_cli.engine.source.weight_files", lambda folder: [folder / "model.safetensors"]
    )
    target, loaded = folder_model(tmp_path)
    before = fingerprints.fingerprint_of(target, loaded)
    after = fingerprints.fingerprint_of(target, SimpleNamespace(**{**vars(loaded), **changes}))  # type: ignore[arg-type]
    assert {one for one in names_of(Fingerprint) if getattr(before, one) != getattr(after, one)} == {field}
    assert set(before.engine) == {"unsloth", "torch", "transformers", "peft", "bitsandbytes"}


def test_a_judgement_of_an_earlier_version_is_not_made_again(tmp_path: Path) -> None:
    folder = SuiteDir(tmp_path)
    assert graded(folder, "4") == (1, True)
    [line] = folder.judgements("word")
    folder.judgements("word").path.unlink()
    folder.judgements("word").append({**line, "key": JudgeRun(WORD).key(line["completion"])})
    assert graded(folder, "4") == (0, True)


# --- what build-data has paid for

ASKED = Request(0, Conversation((Message("system", "s"), Message("user", "u"))))


def kept_key(request: Request[int] = ASKED, sampling: Sampling = SETTINGS, model: str | None = None) -> str:
    return Remembering(ScriptedBackend(), Journal(Path("nowhere.jsonl"), RECORD), model).key(
        request, sampling
    )


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in SETTINGS_CHANGES.items() for value in values]
)
def test_every_field_of_the_settings_changes_the_key_of_what_is_kept(name: str, value: Any) -> None:
    assert kept_key(sampling=SETTINGS.model_copy(update={name: value})) != kept_key()


@pytest.mark.parametrize(
    "messages",
    [
        (Message("system", "s2"), Message("user", "u")),
        (Message("system", "s"), Message("user", "u2")),
        (Message("user", "s"), Message("user", "u")),
        (Message("user", "u"),),
        (Message("system", "s"), Message("user", "u"), Message("assistant", "<think>")),
        (Message("user", "u"), Message("system", "s")),
    ],
)
def test_every_message_changes_the_key_of_what_is_kept(messages: tuple[Message, ...]) -> None:
    assert kept_key(ASKED._replace(input=Conversation(messages))) != kept_key()


def test_model_and_seed_change_the_key_of_what_is_kept_and_the_callers_key_does_not() -> None:
    assert len({kept_key(), kept_key(model="m2"), kept_key(ASKED._replace(seed=1))}) == 3
    assert kept_key(ASKED._replace(key=7)) == kept_key()
    assert kept_key()[:12] == "f81aa0f1427c"  # answers that people paid for are found again by it


@pytest.mark.parametrize("adapter", ["a", "b"])
def test_an_adapter_is_part_of_the_model_of_what_is_kept(
    adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedBackend, "fingerprint", Fingerprint("scripted", "scripted", "w", adapter))
    assert kept_key() == kept_key(model=f"scripted {adapter}") != kept_key(model="scripted")
