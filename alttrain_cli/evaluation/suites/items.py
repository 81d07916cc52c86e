"""Reads a suite's items: from the package, from a file that a person gives, or from where it is published."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.harness import HarnessPrompts
from alttrain_cli.evaluation.suites.programs import problem_place, program_prompt
from alttrain_cli.evaluation.suites.suite import FOLDER, Item, Suite, SuiteSource, Task, fingerprint
from alttrain_cli.evaluation.suites.turns import turns_of
from alttrain_cli.network import is_offline
from alttrain_cli.storage.download import DownloadError, download
from alttrain_cli.storage.reading import check_ordinary, sha256
from alttrain_cli.storage.tables import read_table
from alttrain_cli.storage.user_folders import CACHE
from alttrain_cli.text import did_you_mean, quoted

SUITES = CACHE / "suites"
LARGEST = 2**30  # bytes of a suite's file; the largest published one, of LiveCodeBench, has 558 MB
MOST_ITEMS = 1_000_000


class LoadedSuite(NamedTuple):
    """The items of a suite, and what was read to get them."""

    items: list[Item]
    file: str
    file_sha256: str
    sha256: str  # of the items
    pinned: bool  # the hash was known beforehand, and is right
    dropped: int  # rows without a prompt (recorded attacks that failed have none)
    given: bool = False  # the file is one that a person gave
    source: str | None = None  # where the goals of a replay came from; None: from the suite's own
    caveats: tuple[str, ...] = ()  # what the scorecard has to say about these items


def read_suite(suite: Suite, given: Path | None = None) -> LoadedSuite:
    wording = HarnessPrompts(suite.task) if suite.task else None
    path = given or _fetch(suite)
    check_file(suite, path)
    items, dropped = _items(suite, path, wording)
    if given is None or not suite.has_goals:  # else the goals are a person's own
        _check_count(suite, path, len(items) + dropped)
    found = fingerprint(items)
    if suite.sha256 and found != suite.sha256 and given is None:
        raise DataError(
            f"{suite.name}: {path}: wrong data: its SHA-256 is {found[:12]}, but the suite expects "
            f"{suite.sha256[:12]}. Use the published file."
        )
    pinned = found == suite.sha256
    return LoadedSuite(items, str(path), sha256(path), found, pinned, dropped, given is not None)


def is_here(suite: Suite) -> bool:
    """Whether the data of a suite is on this machine. Nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache

    source = suite.source
    if source.package:
        return True
    if not source.hub:
        return _cached(suite).is_file()
    found = try_to_load_from_cache(
        source.hub, str(source.file), revision=source.revision, repo_type="dataset"
    )
    return isinstance(found, str)


def _items(suite: Suite, path: Path, wording: HarnessPrompts | None) -> tuple[list[Item], int]:
    items: list[Item] = []
    dropped = 0
    row: Mapping[str, Any] = {}
    for number, row in _rows(suite, path):
        place = f"{suite.name}: {path}:{number}"
        if not _wanted(suite, row, place):
            continue
        turns = turns_of(row, suite.columns.get("turns", ()), place)
        prompt = wording.prompt(row, place) if wording else _prompt(suite, row, place)
        prompt = "\n\n".join(turns) if turns and prompt is None else prompt
        if prompt is None or not prompt.strip():
            _need_column(suite, path, row)
            dropped += 1
            continue
        item = _item(suite, place, str(number), row, prompt)._replace(turns=turns)
        if suite.grader == "program":
            item = item._replace(problem=problem_place(path, number, row, place))
        items.append(item)
        if len(items) > MOST_ITEMS:
            raise DataError(f"{suite.name}: {path} has more than {MOST_ITEMS:,} items. Is it the right file?")
    if not items:
        raise _no_items(suite, path, row)
    return _unique(items), dropped


def _rows(suite: Suite, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        yield from read_table(path, suite.records, suite.header, suite.members)
    except DataError as error:
        raise DataError(f"{suite.name}: {error}") from None


def check_file(suite: Suite, path: Path) -> None:
    """Refuse a folder, a pipe, and a file that is too large, before anything is read of it."""
    try:
        check_ordinary(path)
    except DataError as error:
        raise DataError(f"{suite.name}: {error} {_right_file(suite)}") from None
    if path.stat().st_size > LARGEST:
        raise DataError(f"{suite.name}: {path} is larger than {LARGEST:,} bytes. {_right_file(suite)}")


def _right_file(suite: Suite) -> str:
    """Return which file a person has to give."""
    usual = "Give a file with your goals." if suite.has_goals else "Give the published file."
    return "Correct `file` in the suite's entry." if suite.source.own else usual


def _item(suite: Suite, place: str, number: str, row: Mapping[str, Any], prompt: str) -> Item:
    answer = _last_answer(_get(suite, row, "answer", place))
    if suite.grader in ("word", "math") and not (answer or "").strip(" |"):
        raise DataError(f"{place}: no answer ({' or '.join(suite.columns['answer'])}).")
    return Item(
        id=_get(suite, row, "id", place) or number,
        prompt=suite.instruction.replace("{prompt}", prompt) if suite.instruction else prompt,
        category=_get(suite, row, "category", place),
        goal=_get(suite, row, "goal", place),
        answer=answer,
        stub=_get(suite, row, "stub", place),
        tests=_tests(suite, row, place),
        task=suite.name if suite.task else None,
        document=_document(suite.task, row, place) if suite.task else None,
    )


def _prompt(suite: Suite, row: Mapping[str, Any], place: str) -> str | None:
    return program_prompt(row, place) if suite.grader == "program" else _get(suite, row, "prompt", place)


def _document(task: Task, row: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """Return what the task's scoring reads of a row, as it will be read back from plan.json."""
    values = {name: row[name] for name in task.reads}
    try:
        found: Mapping[str, Any] = json.loads(json.dumps(values, allow_nan=False))
        return found
    except (TypeError, ValueError):
        raise DataError(
            f"{place}: {', '.join(values)}: only texts, finite numbers and lists are read."
        ) from None


def _tests(suite: Suite, row: Mapping[str, Any], place: str) -> str | None:
    """HumanEval's tests define check(), which is called with the requested function."""
    tests, entry = _get(suite, row, "tests", place), _get(suite, row, "entry", place)
    if suite.grader == "code" and not tests:
        raise DataError(f"{place}: no tests ({' or '.join(suite.columns.get('tests', ('tests',)))}).")
    return f"{tests}\n\ncheck({entry})\n" if tests and entry else tests


def _wanted(suite: Suite, row: Mapping[str, Any], place: str) -> bool:
    """Whether a row is of this suite. Published copies that were cut down already lack the column."""
    absent = [column for column in suite.where if column not in row]
    if absent and suite.source.own:
        raise DataError(
            f"{place}: no column {absent[0]}, by which `where` chooses; the row has "
            f"{', '.join(map(str, row))}. {did_you_mean(absent[0], row) or 'Correct `where`.'}"
        )
    return all(_matches(str(row[column]), values) for column, values in suite.where.items() if column in row)


def _no_items(suite: Suite, path: Path, row: Mapping[str, Any]) -> DataError:
    """Return the error of a file without any item; `row` is its last row."""
    if not suite.source.own or not suite.where or not row:
        return DataError(f"{suite.name}: {path} contains no items of this suite.")
    wanted = ", ".join(f"{column} is {' or '.join(values)}" for column, values in suite.where.items())
    has = ", ".join(f"{column} is {quoted(row[column])}" for column in suite.where)
    return DataError(f"{suite.name}: {path}: no row fits `where` ({wanted}). In its last row, {has}.")


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    """Whether a value matches one of the patterns, if there are any, and none of those after a "!"."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    found = not wanted or any(fnmatchcase(value, pattern) for pattern in wanted)
    return found and not any(fnmatchcase(value, pattern) for pattern in unwanted)


def _get(suite: Suite, row: Mapping[str, Any], column: str, place: str) -> str | None:
    """Return a row's text, or None where it has none. Numbers are texts, but not as a prompt."""
    name = next((name for name in suite.columns.get(column, ()) if row.get(name) is not None), None)
    value = None if name is None else row[name]
    if value is None or isinstance(value, str):
        return value
    if column == "prompt" or not _is_number(value):
        raise DataError(f"{place}: {name}: must be text, not {quoted(value)}.")
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _need_column(suite: Suite, path: Path, row: Mapping[str, Any]) -> None:
    prompts, turns = (suite.columns.get(name, ()) for name in ("prompt", "turns"))
    if any(name in row for name in (*prompts, *turns)):
        return
    names = turns or prompts
    advice = "Rename the column of goals to goal." if suite.has_goals else _right_file(suite)
    if suite.source.own:
        near = did_you_mean(names[0], row)
        ours = "turns" if turns else "goal" if suite.has_goals else "prompt"
        advice = f"{near}{near and ' '}Name it in the suite's entry: columns: {{{ours}: NAME}}"
    has = ", ".join(map(str, row))
    raise DataError(f"{suite.name}: {path}: no column {' or '.join(names)}; the file has {has}. {advice}")


def _last_answer(answer: str | None) -> str | None:
    """GSM8K writes its reasoning and then `#### 42`."""
    return answer if answer is None else re.split(r"####\s*", answer)[-1].strip()


def _unique(items: list[Item]) -> list[Item]:
    """Add a number to duplicate ids: keys are made from them."""
    counts: dict[str, int] = {}
    taken = {item.id for item in items}
    unique: list[Item] = []
    for item in items:
        counts[item.id] = counts.get(item.id, 0) + 1
        unique.append(item if counts[item.id] == 1 else item._replace(id=_free_id(item.id, counts, taken)))
    return unique


def _free_id(name: str, counts: dict[str, int], taken: set[str]) -> str:
    """Return the next numbered id that no other item has, and take it."""
    while (numbered := f"{name}#{counts[name]}") in taken:
        counts[name] += 1
    taken.add(numbered)
    return numbered


def _check_count(suite: Suite, path: Path, found: int) -> None:
    if suite.n is not None and found != suite.n:
        raise DataError(
            f"{suite.name}: {path} holds {found} items; {suite.title} has {suite.n}. "
            "Is it the complete published file?"
        )


def _fetch(suite: Suite) -> Path:
    source = suite.source
    if source.package:
        return FOLDER / source.package
    return _from_hub(suite, source) if source.hub else _from_url(suite, source)


def _from_hub(suite: Suite, source: SuiteSource) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = hf_hub_download(
            str(source.hub), str(source.file), revision=source.revision, repo_type="dataset", etag_timeout=10
        )
    except GatedRepoError:
        raise DataError(
            f"{suite.name}: {source.hub} is gated. Accept its terms on the hub, then: hf auth login"
        ) from None
    except LocalEntryNotFoundError:
        raise _missing(suite, "the hub cannot be reached") from None
    except (HfHubHTTPError, OSError) as error:
        raise _missing(suite, error) from None
    return Path(found)


def _from_url(suite: Suite, source: SuiteSource) -> Path:
    """Return the published file, from the cache if it is there."""
    url = str(source.url).replace("{revision}", source.revision or "")
    try:
        return download(url, _cached(suite), offline=is_offline())
    except DownloadError as error:
        raise _missing(suite, error) from None


def _cached(suite: Suite) -> Path:
    """Return where a downloaded file is kept. Its name has the revision: another one is another file."""
    source = suite.source
    ending = Path(str(source.url)).suffix
    return SUITES / f"{suite.name}-{(source.revision or 'unpinned')[:12]}{ending}"


def _missing(suite: Suite, reason: object) -> DataError:
    first = (str(reason).strip().splitlines() or ["cannot be reached"])[0]
    return DataError(
        f"{suite.name}: its data is not on this machine and cannot be fetched from {suite.source} "
        f"({first[:160]}). Give the published file (--suite-file {suite.name}=FILE) or another --suite."
    )
