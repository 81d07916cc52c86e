"""From sources to rows: every sample is a row or is accounted for."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alttrain_cli.cli import app
from alttrain_cli.data import sources
from alttrain_cli.data.annotators import TemplateAnnotator
from alttrain_cli.data.build import BuildResult, build
from alttrain_cli.data.part import SourceConfig
from alttrain_cli.data.samples import Sample, SampleReader
from alttrain_cli.data.sources import PUBLIC, Source
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.data.styles import split_opening
from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.structure.markers import Markers
from alttrain_cli.structure.row import Row, read_rows
from alttrain_cli.structure.trace import compose, parse
from tests.samples import STAR1, TRACE, put

RUNNER = CliRunner()
GOOD = {"prompt": "How do I boil an egg?", "response": TRACE, "label": "benign"}


def built(out: Path, *sources: str, seed: int = 1, **options: Any) -> BuildResult:
    reading = SampleReader.of(options.pop("columns", None), options.pop("label", None))
    return build([SourceConfig(Source.parse(text), reading, **options) for text in sources], out, seed)


def samples(path: Path, columns: str | None = None, label: str | None = None) -> list[Sample]:
    return list(SampleReader.of(columns, label).samples(Source.parse(str(path))))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--columns", "prompt=questoin"], "Did you mean 'question'?"),
        (["--columns", "promt=question"], "Did you mean 'prompt'?"),
        (["--columns", "prompt=question,response=output", "--label", "column:rik"], "Did you mean 'risk'?"),
        (["--columns", "prompt=question,response=output,id=nmber"], "Did you mean 'number'?"),
    ],
)
def test_a_wrong_name_of_a_column_gets_the_nearest_one(
    options: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "s.jsonl", {"question": "How?", "output": TRACE, "risk": "benign", "number": 1})
    given = options if "--label" in options else [*options, "--label", "benign"]
    assert hint in RUNNER.invoke(app, ["build-data", "--source", "s.jsonl", *given]).output


def test_a_file_of_another_format_is_told_the_formats_and_a_table_the_way_to_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text("# Notes")
    shown = RUNNER.invoke(app, ["build-data", "--source", "notes/a.md"]).output
    assert "this ending cannot be read" in shown
    assert ".parquet" in shown
    (tmp_path / "x.csv").write_text("prompt,response,label\n")
    for words in (["train", "--recipe", "r1-7b", "--data", "x.csv"], ["build-data", "--audit", "x.csv"]):
        assert "alttrain build-data --source x.csv --out data.jsonl" in RUNNER.invoke(app, words).output


@pytest.mark.parametrize(("option", "word"), [("--audit", "Auditing"), ("--source", "Reading")])
def test_a_file_that_is_missing_is_not_said_to_be_read(option: str, word: str, tmp_path: Path) -> None:
    out = [] if option == "--audit" else ["--out", str(tmp_path / "d.jsonl")]
    shown = RUNNER.invoke(app, ["build-data", option, str(tmp_path / "nope.jsonl"), *out]).output
    assert "no such file" in shown
    assert word not in shown


def test_every_sample_is_a_row_or_is_set_aside_with_a_reason(tmp_path: Path) -> None:
    source = put(
        tmp_path / "s.jsonl",
        GOOD,
        {**GOOD, "prompt": "How do I boil  an EGG?"},
        {**GOOD, "prompt": " "},
        {**GOOD, "prompt": "x" * 100_000},
        {**GOOD, "prompt": "How do I \x1b[31mboil it?"},
        {**GOOD, "prompt": "And two?", "response": "Just boil it."},
    )
    result = built(tmp_path / "data.jsonl", str(source))
    assert len(read_rows(result.rows)) == 1
    assert result.dropped is not None
    dropped = [json.loads(line) for line in result.dropped.read_text().splitlines()]
    assert sorted(one["reason"] for one in dropped) == [
        "the prompt holds U+001B: a control or wrongly decoded character",
        "the prompt is already in an earlier row",
        "the prompt is empty",
        "the prompt is longer than 32,000 characters",
        "the response has no think block",
    ]
    assert [one["where"].rpartition(":")[2] for one in dropped] == ["2", "3", "4", "5", "6"]
    manifest = json.loads(result.manifest.read_text())
    assert manifest["rows"] == 1
    assert sum(manifest["dropped"].values()) == 5
    assert manifest["sources"][0] | {"samples": 6, "rows": 1, "dropped": 5} == manifest["sources"][0]


def test_when_no_row_is_left_the_samples_are_kept(tmp_path: Path) -> None:
    source = put(tmp_path / "s.jsonl", {**GOOD, "response": "Just boil it."})
    with pytest.raises(
        DataError, match=r"All samples were dropped \(the response has no think block: 1\)\. Details: "
    ):
        built(tmp_path / "data.jsonl", str(source))
    assert "Just boil it." in (tmp_path / "data.dropped.jsonl").read_text()
    assert not (tmp_path / "data.jsonl").exists()


def test_the_same_seed_builds_the_same_file(tmp_path: Path) -> None:
    samples = [{**GOOD, "prompt": row.prompt} for row in starter_rows("train")[:60]]
    source = str(put(tmp_path / "samples.jsonl", *samples))
    files = [
        built(tmp_path / f"{seed}-{n}.jsonl", source, seed=seed).rows for n, seed in enumerate((7, 7, 8))
    ]
    first, second, other = (path.read_bytes() for path in files)
    assert first == second
    assert first != other
    assert sorted(first.splitlines()) == sorted(other.splitlines())
    assert len(first.splitlines()) > 20


def test_rows_of_sources_of_the_same_name_get_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = put(tmp_path / "a" / "s.jsonl", GOOD)
    other = put(tmp_path / "b" / "s.jsonl", {**GOOD, "prompt": "And a goose egg, how long does that take?"})
    result = built(tmp_path / "data.jsonl", str(one), str(other))
    assert {row.id for row in read_rows(result.rows)} == {"s-1", "s-1~2"}


def test_a_count_takes_so_many_rows_and_keeps_each_categorys_share(tmp_path: Path) -> None:
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"]
    values = [
        {**GOOD, "prompt": f"{word} {other} {word}?", "category": "few" if n % 5 == 0 else "many"}
        for n, (word, other) in enumerate((a, b) for a in words for b in words)
    ]
    source = put(tmp_path / "s.jsonl", *values)
    result = built(tmp_path / "data.jsonl", f"{source}:30")
    assert result.audit.categories == {"many": 24, "few": 6}
    assert result.parts[0].size == 30


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (["Hate, or worse", "Violence"], "Hate, or worse"),
        ("['Hate, or worse', 'Violence']", "Hate, or worse"),
        ('["Hate, or worse", "Violence"]', "Hate, or worse"),
        ('["Hate"]', "Hate"),
        ("[]", None),
        ([], None),
        ("", None),
        ({"Hate": False, "Violence": True, "Self-Harm": False}, "Violence"),  # BeaverTails
        ({"Hate": False}, None),
    ],
)
def test_of_a_list_of_categories_the_first_counts_however_the_list_is_written(
    given: str | list[str] | dict[str, bool], first: str | None, tmp_path: Path
) -> None:
    [found] = samples(put(tmp_path / "s.jsonl", {**GOOD, "category": given}))
    assert found.category == first


def test_mixed_rows_are_benign_and_untouched(tmp_path: Path) -> None:
    math = put(tmp_path / "m.jsonl", {"problem": "2+2?", "response": TRACE})
    out = tmp_path / "data.jsonl"
    done = RUNNER.invoke(
        app, ["build-data", "--source", "starter:10", "--mix", f"{math}:1", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    rows = {row.source: row for row in read_rows(out)}
    assert (rows["m"].style, rows["m"].label, rows["m"].assessment) == ("original", "benign", "")
    assert rows["m"].reasoning in TRACE
    assert json.loads((tmp_path / "data.manifest.json").read_text())["rows"] == 11


def test_what_the_source_calls_harmful_is_never_mixed_in(tmp_path: Path) -> None:
    good = {"prompt": "2+2?", "response": TRACE}
    math = put(tmp_path / "m.jsonl", {**good, "label": 4}, {**good, "prompt": "3+3?", "label": "harmful"})
    out = tmp_path / "data.jsonl"
    done = RUNNER.invoke(app, ["build-data", "--mix", str(math), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert [row.prompt for row in read_rows(out)] == ["2+2?"]
    assert "the source's label is harmful" in (tmp_path / "data.dropped.jsonl").read_text()


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_all_formats_give_the_same_samples(tmp_path: Path, suffix: str) -> None:
    import pyarrow
    import pyarrow.parquet

    values = [
        {"id": "7", "question": "How? “so”", "response": TRACE, "category": "Self-Harm"},
        {"id": "8", "question": "What,\nnow?", "response": TRACE, "category": "Other"},
    ]
    path = tmp_path / f"s{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(values))
    elif suffix == ".jsonl":
        put(path, *values)
    elif suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(values[0]))
            writer.writeheader()
            writer.writerows(values)
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), path)
    found = samples(path, label="harmful")
    assert [(one.id, one.prompt, one.response, one.category) for one in found] == [
        (f"s-{value['id']}", value["question"], value["response"], value["category"]) for value in values
    ]
    assert {one.label for one in found} == {"harmful"}


def test_the_ends_of_lines_of_windows_are_not_trained(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    cell = TRACE.replace("\n", "\r\n")
    path.write_bytes(f'\ufeffprompt,response,label\r\n"Eggs?\r\nNow.","{cell}",benign\r\n'.encode())
    [found] = samples(path)
    assert (found.prompt, found.response) == ("Eggs?\nNow.", TRACE)


def test_columns_and_labels_go_by_the_names_that_are_given(tmp_path: Path) -> None:
    path = put(tmp_path / "s.jsonl", {"ask": "How?", "say": TRACE, "kind": "unsafe"})
    (one,) = samples(path, "prompt=ask, response=say", "column:kind")
    assert (one.prompt, one.response, one.label) == ("How?", TRACE, "harmful")


def test_a_label_that_is_said_counts_where_the_source_has_none_that_can_be_read(tmp_path: Path) -> None:
    path = put(tmp_path / "s.jsonl", {**GOOD, "label": 0}, {**GOOD, "label": None}, GOOD)
    assert [one.label for one in samples(path, label="harmful")] == ["harmful", "harmful", "benign"]


def test_a_missing_value_costs_its_row_and_not_the_build(tmp_path: Path) -> None:
    path = put(tmp_path / "s.jsonl", GOOD, {**GOOD, "prompt": None}, {**GOOD, "response": None})
    result = built(tmp_path / "data.jsonl", str(path))
    assert result.reasons == {"the prompt is empty": 1, "the response has no think block": 1}


def test_half_a_character_costs_its_row_and_not_the_build(tmp_path: Path) -> None:
    bad = "\ud800"
    path = put(
        tmp_path / "s.jsonl", GOOD, {**GOOD, "prompt": f"And {bad}?"}, {**GOOD, "response": bad + TRACE}
    )
    result = built(tmp_path / "data.jsonl", str(path))
    assert (len(read_rows(result.rows)), sum(result.reasons.values())) == (1, 2)
    assert "And \ufffd?" in (tmp_path / "data.dropped.jsonl").read_text()


@pytest.mark.parametrize("name", ["data.jsonl", "data.dropped.jsonl"])
def test_no_source_is_written_over(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, GOOD)
    before = path.read_bytes()
    with pytest.raises(DataError, match="would overwrite this source file"):
        built(tmp_path / "data.jsonl", str(path))
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named_before_anybody_is_asked(tmp_path: Path) -> None:
    class Eager(TemplateAnnotator):
        def prepare(self, samples: object) -> None:
            pytest.fail("asked in vain")

    with pytest.raises(AlttrainError, match="it is a folder"):
        built(tmp_path, str(put(tmp_path / "s.jsonl", GOOD)), annotator=Eager())


def test_fewer_rows_than_were_asked_for_are_told(tmp_path: Path) -> None:
    path, out = put(tmp_path / "s.jsonl", GOOD), str(tmp_path / "data.jsonl")
    done = RUNNER.invoke(app, ["build-data", "--source", f"{path}:900", "--out", out])
    assert "s.jsonl has only 1 of the 900 rows" in " ".join(done.stderr.split())


def test_a_source_without_rows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("prompt,response,label\n")
    with pytest.raises(DataError, match=r"s\.csv: holds no rows"):
        built(tmp_path / "data.jsonl", str(path))


def test_a_parquet_file_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "s.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([GOOD]), path)
    content = bytearray(path.read_bytes())
    content[40:60] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"s\.parquet: not a complete Parquet file"):
        samples(path)


def test_a_folder_in_the_hubs_layout_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    put(tmp_path / "set" / "data" / "train.jsonl", GOOD)
    assert len(read_rows(built(tmp_path / "data.jsonl", str(tmp_path / "set")).rows)) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder from which no dataset can be read"):
        built(tmp_path / "data.jsonl", str(tmp_path / "empty"))


@pytest.mark.parametrize("words", ["prompt", "text=a", "prompt="])
def test_columns_that_cannot_be_understood_are_named(words: str) -> None:
    with pytest.raises(DataError, match="ours are prompt, response, label, category, id"):
        SampleReader.of(words, None)


def test_the_public_sets_have_names_and_the_hub_is_asked_for_any_other() -> None:
    for name, repository in PUBLIC.items():
        assert Source.parse(f"{name}:900") == Source(repository, 900)
    assert Source.parse("me/mine@abc123:5") == Source("me/mine", 5, "abc123")


def test_without_a_network_the_revision_is_the_one_asked_for() -> None:
    asked = "from alttrain_cli.data.sources import Source; print(Source.parse('nobody/nothing@abc').pinned())"
    nowhere = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=nowhere)
    assert (done.returncode, "'revision': 'abc'" in done.stdout) == (0, True), done.stderr


def test_a_hub_set_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    done = RUNNER.invoke(
        app, ["build-data", "--source", "nobody/nothing", "--out", str(tmp_path / "d.jsonl")]
    )
    assert done.exit_code == 2
    assert "nobody/nothing: the hub cannot be reached" in " ".join(done.stderr.split())


def caused(kind: str, cause: Exception) -> Exception:
    """An error of a library that another one has caused."""
    made: Exception = type(kind, (Exception,), {})("An error occurred while generating the dataset")
    made.__cause__ = cause
    return made


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("Config name is missing.\nPlease pick one among: ['main', 'all']"),
            "several configurations",
        ),
        (RuntimeError("Dataset scripts are no longer supported, but found nothing.py"), "as one table"),
        (type("DatasetGenerationCastError", (Exception,), {})("a.csv (at revision abc)"), "as one table"),
        (ConnectionError("Couldn't reach 'nobody/nothing' on the Hub"), "the hub cannot be reached"),
        (PermissionError(13, "Permission denied"), "the hub cannot be reached"),  # of a connection
        (PermissionError(13, "Permission denied", "/cache"), "cannot be downloaded: no permission to write"),
        (
            OSError("Not enough disk space. Needed: 9 GB"),
            "cannot be downloaded: the disk is full. Free space",
        ),
        (caused("DatasetGenerationError", OSError(28, "No space left")), "downloaded: the disk is full."),
    ],
)
def test_a_hub_set_that_was_reached_and_cannot_be_read_says_so(error: Exception, message: str) -> None:
    assert message in str(sources._hub_problem(Source("nobody/nothing"), error))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "s.jsonl",
            b'{"prompt": "a", "response": "b"}',
            r"s\.jsonl:1: no label; the row has prompt, response\. Give",
        ),
        (
            "s.jsonl",
            b'{"prompt": "a", "response": "b", "risk level": "Harmful"}',
            r"the row has prompt, response, risk level\. Did you mean --label 'column:risk level'\? Give",
        ),
        (
            "s.jsonl",
            b'{"prompt": "a", "response": "b", "label": "bad"}',
            "'bad' is neither harmful nor benign",
        ),
        (
            "s.jsonl",
            b'{"response": "b", "label": "benign"}',
            r"s\.jsonl:1: no column prompt; the row has response",
        ),
        (
            "s.jsonl",
            b'{"prompt": 3, "response": "b", "label": "benign"}',
            "prompt: text is needed, not int",
        ),
        ("s.jsonl", b'\n{"prompt": "\xe9"}', r"s\.jsonl:2: not UTF-8 \(byte 13 of the line\)"),
        ("s.json", b'{"a": 1}', "a list of objects is needed"),
        ("s.json", b"[1]", "item 1: a JSON object is needed"),
        ("s.json", b"[", "not valid JSON"),
        ("s.json", b"[" * 100_000, r"s\.json: not valid JSON \(nested deeper than 64 levels"),
        (
            "s.jsonl",
            b'{"id": ' + b"9" * 5_000 + b"}",
            r"s\.jsonl:1: not valid JSON \(a number has thousands of digits",
        ),
        ("s.jsonl", b'{"messages": [{"role": "user"}], "label": "benign"}', "Lists of turns are not read"),
        ("s.csv", b"prompt,response,label\na,b,benign,d\n", r"s\.csv:2: the row has 4 values for 3 columns"),
        ("s.csv", b"", "empty"),
        ("s.csv", b"prompt\tresponse\tlabel\na\tb\tbenign\n", r"separated by tabs.*\.tsv"),
        ("s.csv", b"prompt,response,label\ra,b,benign\r", "a carriage return alone"),
        ("s.json", b'{"prompt": "a"}\n{"prompt": "b"}\n', r"an object per line.*\.jsonl"),
        ("s.jsonl", b'[\n{"prompt": "a"}\n]\n', r"one list of objects.*\.json\."),
        ("s.csv", b"prompt;response;label\na;b, c;benign\n", "separated by semicolons"),
        (
            "s.jsonl",
            b'{"instruction": "Translate this.", "input": "Good day.", "output": "b", "label": "benign"}',
            r"s\.jsonl:1: .*The input would be lost\..*--columns prompt=instruction",
        ),
        ("s.jsonl", b'{"Question": "a", "response": "b", "label": "benign"}', "--columns prompt=Question"),
        ("s.jsonl", b'{"prompt": "a", "label": "benign"}', "or let a model write .*--generate-traces"),
        (
            "s.jsonl",
            b'{"prompt": "a", "label": "benign", "understanding": "b", "assessment": "", "reasoning": "", '
            b'"answer": "c"}',
            "a row that build-data made already",
        ),
        (
            "s.jsonl",
            "\u00e9".encode("utf-16"),
            r"iconv -f utf-16 -t utf-8 \S*s\.jsonl > \S*utf8-s\.jsonl$",
        ),
        (
            "s.jsonl",
            b"\xe9",
            r"iconv -f windows-1252 -t utf-8 \S*s\.jsonl > \S*utf8-s\.jsonl$",
        ),
        ("s.csv", b"prompt,prompt,response\na,b,c\n", "two columns have the same name"),
        ("s.parquet", b"no", "not a complete Parquet file"),
        ("s.txt", b"x", "this ending cannot be read"),
        ("none.jsonl", None, "no such file"),
    ],
)
def test_a_wrong_source_is_named_with_its_place(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        samples(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "for example --source starter"),
        (["--source", "starter", "--style", "nonsense"], "'nonsense' is unknown. Choose among: alttrain"),
        (["--source", "starter", "--style", "r1-act"], "the style r1-act needs R1 traces"),
        (["--source", "starter:0"], "'0' is not a number of rows"),
        (["--source", "starter", "--label", "evil"], "Give harmful, benign, unknown, or column:NAME"),
        (["--source", "none.jsonl", "--annotator", "endpoint"], "endpoint needs the address of a server"),
        (["--source", "none.jsonl", "--annotator", "model"], "--recipe"),
        (
            ["--source", "starter", "--style", "original", "--generate-traces", "model"],
            "cannot be used with --generate-traces",
        ),
        (["--source", "starter", "--price", "cheap", "--annotator", "endpoint"], "two numbers"),
        (
            ["--source", "none.jsonl", "--annotator", "endpoint", "--base-url", "http://127.0.0.1:9/v1"],
            "cannot be reached",
        ),
        (["--source", "starter", "--base-url", "http://127.0.0.1:9/v1"], "add --annotator endpoint"),
        (["--source", "starter", "--recipe", "smollm2-135m"], "add --annotator model"),
        (["--source", "starter", "--on-disagreement", "label"], "add --annotator endpoint|model"),
        (["--audit", "none.jsonl"], "--out has no effect with --audit"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = RUNNER.invoke(app, ["build-data", *arguments, "--out", str(tmp_path / "d.jsonl")])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_the_starter_set_goes_through_whole(tmp_path: Path) -> None:
    result = built(tmp_path / "data.jsonl", "starter")
    assert len(read_rows(result.rows)) == len(starter_rows("train"))
    assert result.dropped is None


def _accounts_for_itself(row: Row) -> bool:
    found = parse(compose(row.trace, Markers(), prefilled=True), Markers(), prefilled=True)
    return found == row.trace and found.verdict == row.label


@pytest.mark.skipif(not STAR1.is_file(), reason="shared/data/STAR-1.json is not beside this checkout")
def test_star1_goes_through_as_it_is(tmp_path: Path) -> None:
    result = built(tmp_path / "data.jsonl", str(STAR1), label="harmful")
    rows = read_rows(result.rows)
    assert len(rows) + sum(result.reasons.values()) == 1_000
    assert len(rows) >= 950
    assert all(map(_accounts_for_itself, rows))


@pytest.mark.skipif(not STAR1.is_file(), reason="shared/data/STAR-1.json is not beside this checkout")
def test_every_first_sentence_of_star1_is_whole_and_single() -> None:
    for one in samples(STAR1, label="harmful"):
        thinking = one.response.partition("<think>")[2].partition("</think>")[0].strip()
        first = split_opening(thinking)[0]
        rest = thinking.removeprefix(first).lstrip()
        assert re.search(r"""[.?!]["']?$""", first), first  # not cut inside a sentence
        assert first.count('"') % 2 == 0, first  # nor inside a quotation
        assert not re.match(r"[a-z,;)]", rest), first  # nor at an abbreviation
        assert not re.search(r"""[.?!] (?:Hmm|I need to)\b""", re.sub('"[^"]*"', "", first)), first
        assert 4 <= len(first.split()) <= 60, first
