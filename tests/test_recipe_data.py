"""A recipe names its data: it is built once, found again, and an error says what is missing."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli.cli import app
from alttrain_cli.commands.train import steps
from alttrain_cli.data import sources
from alttrain_cli.data.build import build
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.published_files import NotDownloaded
from alttrain_cli.data.recipe_data import RecipeData
from alttrain_cli.data.sources import Source
from alttrain_cli.engine.machine import Machine
from alttrain_cli.errors import DataError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run
from alttrain_cli.structure.row import read_rows
from alttrain_cli.study.file import StudyFile
from alttrain_cli.study.grid import resolve
from alttrain_cli.study.rows import expected_sizes
from alttrain_cli.study.steps import BuildStep
from tests import stand_ins
from tests.samples import TRACE, put

SMALL = ("--set", "data.sources=['s.jsonl:harmful=3,benign=2']", "--set", "data.name=small")


def many(label: str, count: int, **changes: Any) -> list[dict[str, Any]]:
    prompts = (" ".join(f"{label}{number}{word}" for word in "abcdef") for number in range(count))
    return [{"prompt": one, "response": TRACE, "label": label, **changes} for one in prompts]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stand_ins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "s.jsonl", *many("harmful", 9), *many("benign", 4))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def train(*words: str, recipe: str = "smollm2-135m") -> Result:
    return run("train", "--recipe", recipe, *words)


def test_a_quota_takes_as_many_of_each_label_of_the_samples_that_make_a_row(tmp_path: Path) -> None:
    bad = many("harmful", 5, response="no think block")
    source = put(tmp_path / "s.jsonl", *bad, *many("harmful", 9)[5:] * 2, *many("benign", 6))
    out = tmp_path / "data.jsonl"
    for wanted in (4, 3):
        build([SourceConfig(Source.parse(f"{source}:harmful={wanted},benign=2"))], out, 1)
        labels = [row.label for row in read_rows(out)]
        assert (labels.count("harmful"), labels.count("benign")) == (wanted, 2)
    facts = json.loads((tmp_path / "data.manifest.json").read_text())["sources"][0]
    assert (facts["quotas"], facts["wanted"], facts["rows"]) == ({"harmful": 3, "benign": 2}, 5, 5)
    with pytest.raises(DataError, match="harmful=5: the source has 13 harmful samples, and 4 of them make"):
        build([SourceConfig(Source.parse(f"{source}:harmful=5"))], out, 1)


def test_a_quota_takes_no_sample_that_an_earlier_source_gives(tmp_path: Path) -> None:
    """Rows that two sources share made the second one's quota fall short, with a warning alone."""
    first = put(tmp_path / "a.jsonl", *many("harmful", 6))
    second = put(tmp_path / "b.jsonl", *many("harmful", 10))
    for taken in (f"{first}:harmful=6", f"{first}:6", str(first)):
        texts = (taken, f"{second}:harmful=4")
        result = build([SourceConfig(Source.parse(text)) for text in texts], tmp_path / "d.jsonl", 1)
        assert [part.rows for part in result.parts] == [6, 4]
        assert result.dropped is None
        with pytest.raises(DataError, match="harmful=5: the source has 10 harmful samples, and 4 of them"):
            build(
                [SourceConfig(Source.parse(text)) for text in (taken, f"{second}:harmful=5")],
                tmp_path / "e.jsonl",
                1,
            )


def test_a_quota_of_a_source_without_labels_says_so(tmp_path: Path) -> None:
    source = put(tmp_path / "s.jsonl", *({**one, "label": None} for one in many("x", 3)))
    result = run(
        "build-data",
        "--source",
        f"{source}:harmful=2",
        "--label",
        "harmful",
        "--out",
        str(tmp_path / "d.jsonl"),
    )
    assert result.exit_code == 0, result.output
    assert len(read_rows(tmp_path / "d.jsonl")) == 2


@pytest.mark.parametrize(
    "words", ["harmful=0", "harmful=x", "harm=3", "harmful=1,harmful=2", "harmful=1,", "=3", "harmful="]
)
def test_a_wrong_quota_is_refused_with_an_example(words: str) -> None:
    with pytest.raises(DataError, match="NAME:harmful=900,benign=100"):
        Source.parse(f"safechain:{words}")


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("safechain[harmful]:900", "safechain:harmful=900"),
        ("OWNER/NAME[benign]:100", "OWNER/NAME:benign=100"),
        ("traces.csv[benign]", "traces.csv:benign=900"),
    ],
)
def test_a_label_in_brackets_is_answered_with_how_it_is_written(typed: str, right: str) -> None:
    with pytest.raises(DataError) as caught:
        Source.parse(typed)
    assert str(caught.value) == f"{typed}: write the number for a label as {right}"


def test_the_data_of_a_recipe_is_built_once_and_found_again(here: Path) -> None:
    first = train(*SMALL)
    assert first.exit_code == 0, first.output
    [data] = (here / "runs" / "data").glob("small-*.jsonl")
    assert (len(read_rows(data)), data.with_suffix(".manifest.json").is_file()) == (5, True)
    before = data.stat().st_mtime_ns
    second = train(*SMALL)
    assert (second.exit_code, data.stat().st_mtime_ns) == (0, before)
    assert "It is built first" in first.output
    assert "It is built first" not in second.output
    trained = Run(Path("runs/smollm2-135m-2"))
    recorded = trained.manifest().data
    assert recorded
    assert (recorded.path, recorded.labels) == (str(data.relative_to(here)), {"harmful": 3, "benign": 2})
    assert Recipe.of_run(trained).data == Recipe.load("smollm2-135m", SMALL[1::2]).data


def test_other_settings_and_another_file_are_another_data_file(here: Path) -> None:
    paths = {RecipeData.of("r", data).path for data in _datas("data.seed=7", "data.style=no-ha")}
    put(here / "s.jsonl", *many("harmful", 3), *many("benign", 2))
    paths |= {RecipeData.of("r", data).path for data in _datas()}
    assert len(paths) == 4


def _datas(*overrides: str) -> Iterator[Any]:
    for more in ((), *((one,) for one in overrides)):
        yield Recipe.load("smollm2-135m", (*SMALL[1::2], *more)).data


def test_a_data_file_that_was_edited_is_not_replaced(here: Path) -> None:
    train(*SMALL)
    [data] = (here / "runs" / "data").glob("small-*.jsonl")
    data.write_text(data.read_text().partition("\n")[2])
    result = train(*SMALL)
    assert result.exit_code == 2
    assert f"--data {data.relative_to(here)}" in " ".join(result.stderr.split())


def test_without_the_hub_one_line_has_the_exact_command(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(source: Source) -> Iterator[Any]:
        raise NotDownloaded(source.name)

    monkeypatch.setattr(sources, "_read_hub", unreachable)
    computer = Machine("this machine, no GPU", 64, gpu=False)
    monkeypatch.setattr(steps, "find_machine", lambda *_, **__: computer)
    result = train(recipe="r1-7b")
    assert result.exit_code == 2
    before = " ".join(result.stdout.partition("It is built first")[0].split())
    assert re.search(r"fit: not practical: about .* On a GPU with \d+ GB: about ", before)
    said = " ".join(result.stderr.split())
    command = re.search(r"(alttrain build-data .*)$", said)
    assert command
    import pyarrow as pa
    from pyarrow import parquet

    rows = [values for _, values in stand_ins.traces(Source("UWNSL/SafeChain"))]
    parquet.write_table(pa.Table.from_pylist(rows), here / "SafeChain.parquet")
    assert run(*shlex.split(command[1])[1:]).exit_code == 0
    found = train("--plan", recipe="r1-7b")
    assert (found.exit_code, "It is built first" in found.output) == (0, False), found.output
    assert "1,000" in found.output


@pytest.mark.parametrize("more", [(), ("--set", "data.annotator=endpoint")])
def test_a_plan_downloads_nothing_and_says_that_the_sizes_of_the_rows_are_a_guess(
    here: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sources, "_read_hub", lambda source: pytest.fail("downloaded"))
    recipe = "r1-7b" if not more else "smollm2-135m"
    found = train("--plan", "--gpu", "24", *more, recipe=recipe)
    assert found.exit_code == 0, found.output
    said = " ".join(found.output.split())
    assert "It is not built yet: the size of its rows is a guess." in said
    assert "fit: fits" in said
    assert not Path("runs").exists()


def test_whole_traces_are_planned_longer_than_short_rows_and_mixed_rows_are_counted() -> None:
    short, whole = (expected_sizes(["star-1:400"], s, Recipe.load("r1-7b")) for s in ("alttrain", "original"))
    assert sum(size.tokens for size in whole) > 2 * sum(size.tokens for size in short)
    assert len(expected_sizes(["a:400", "b:harmful=30,benign=10"], "original", Recipe.load("r1-7b"))) == 440
    study = StudyFile.load("smoke", ("sizes=[96]", "methods.x={mix: star-1:40, style: original}"))
    builds = [step for step in resolve(study, Path("x")).steps if isinstance(step, BuildStep)]
    assert builds[-1].sources == ("starter:96", "star-1:40")


def test_an_annotator_that_needs_a_server_is_named_with_the_command(here: Path) -> None:
    result = train(*SMALL, "--set", "data.annotator=endpoint")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "--annotator endpoint --base-url http://localhost:8000/v1 --out runs/data/small-" in said


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.style=mine", "data.style: 'mine' is unknown. Choose among: alttrain"),
        ("data.annotator=me", "data.annotator: 'me' is unknown."),
        ("data.sources=[nowhere]", "data: nowhere: unknown source"),
        ("data.sources=[]", "data.sources:"),
        ("data.mix=[starter]", "data.mix: the starter set has no traces"),
        ("data.source=[starter]", "data.source: unknown key. Did you mean 'data.sources'"),
    ],
)
def test_what_is_wrong_in_the_data_of_a_recipe_is_named(override: str, message: str, here: Path) -> None:
    result = train("--set", override)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_rows_that_are_named_on_the_command_line_are_not_those_of_the_recipe(here: Path) -> None:
    run("build-data", "--source", "starter:16", "--out", "data.jsonl")
    assert train("--data", "data.jsonl").exit_code == 0
    assert Recipe.of_run(Run(Path("runs/smollm2-135m-1"))).data is None
    refused = train("--data", "data.jsonl", "--set", "data.style=no-ha")
    assert (refused.exit_code, "has no effect" in refused.stderr) == (2, True)


def test_a_run_is_resumed_with_the_same_rows_however_they_are_named(here: Path) -> None:
    train(*SMALL)
    [data] = Path("runs/data").glob("small-*.jsonl")
    started = Run(Path("runs/smollm2-135m-1"))
    started.update_manifest(status="interrupted")
    (started.adapter_path / "adapter_model.safetensors").unlink()
    started.adapter_path.rmdir()
    resumed = train("--data", str(data), "--out", "runs/smollm2-135m-1", "--resume")
    assert resumed.exit_code == 0, resumed.output


def test_a_recipe_without_data_asks_for_a_file(here: Path) -> None:
    result = train("--set", "data=null")
    assert result.exit_code == 2
    assert "the recipe names no data: add --data FILE" in " ".join(result.stderr.split())


def test_the_difference_of_two_recipes_names_the_files_of_both_values() -> None:
    shown = run("recipes", "diff", "r1-8b", "r1-act").output
    lines = [line.split() for line in shown.splitlines()]
    assert ["train.max_length", "8192", "32768"] in lines
    assert ["_lrm.yaml", "r1-act.yaml"] in lines
    assert "lora" not in shown
    assert "no difference" in run("recipes", "diff", "r1-8b", "r1-8b").output
