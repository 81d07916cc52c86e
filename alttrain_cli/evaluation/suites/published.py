"""The data of the suites that a person named, from the package, a file or the hub."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.items import LoadedSuite, check_file, read_suite
from alttrain_cli.evaluation.suites.own_suites import EXAMPLE, is_own, own_suites
from alttrain_cli.evaluation.suites.suite import (
    Suite,
    all_suites,
    find_suites,
    is_suite_word,
    without_instruction,
)
from alttrain_cli.library_output import capture_output
from alttrain_cli.progress import Progress
from alttrain_cli.storage.reading import is_file
from alttrain_cli.text import did_you_mean, quoted


def suite_data(suite: Suite, given: Path | None, progress: Progress | None = None) -> LoadedSuite:
    """Read a suite; where that may need the network, report it, and keep the libraries' output away."""
    if given or suite.source.package:
        return read_suite(suite, given)
    with (progress or Progress()).status(f"Looking for {suite.name} ..."), capture_output(None):
        return read_suite(suite)


def read_suites(
    suites: Sequence[Suite], files: dict[str, Path], progress: Progress
) -> list[tuple[Suite, LoadedSuite]]:
    """Read all suites before anything is generated, so that a missing one costs nothing."""
    return [(suite, suite_data(suite, files.get(suite.name), progress)) for suite in suites]


def suite_files(given: Sequence[str], chosen: Sequence[Suite]) -> dict[str, Path]:
    """Return the file of each suite for which NAME=FILE is given, and of each suite of the user's own."""
    files = {one.suite.name: one.path for one in own_suites(given)}
    for pair in (text for text in given if not is_own(text)):
        name, path = _suite_and_file(pair)
        if name not in {suite.name for suite in chosen}:
            raise DataError(f"--suite-file {pair}: has no effect without --suite {name}.")
        if name in files:
            raise DataError(f"--suite-file {pair}: {name} has a file already: {files[name]}.")
        files[name] = path
    return files


def check_files(suites: Sequence[Suite], files: Mapping[str, Path]) -> None:
    """Make sure that the files that a person gave can be read, before anything else is looked for.

    Raises:
        DataError: naming the suite.
    """
    for suite in suites:
        if suite.name in files:
            check_file(suite, files[suite.name])


def _suite_and_file(pair: str) -> tuple[str, Path]:
    """Return the suite's name and the file of NAME=FILE."""
    name, equals, path = pair.partition("=")
    if not (equals and path):
        raise DataError(
            f"--suite-file {pair}: give NAME=FILE, for example xstest-safe=xstest_prompts.csv, "
            f"or a .yaml file that describes prompts of your own. {EXAMPLE}"
        )
    if not is_suite_word(name):
        words = did_you_mean(name, all_suites()) or "Describe prompts of your own in a .yaml file."
        raise DataError(f"--suite-file {pair}: no suite is called {quoted(name)}. {words} {EXAMPLE}")
    if name not in {suite.name for suite in find_suites(name)}:
        raise DataError(f"--suite-file {pair}: {name} is a group; give each of its suites a file.")
    return name, Path(path)


def suite_prompts(
    words: str, files: Sequence[str], read_prompts: Callable[[str], list[str]]
) -> dict[str, list[str]]:
    """Return {suite: prompts} of the suites in `words` and of `files`, each NAME=FILE or any file of prompts.

    They must not be in the training data, so they are without the instruction of their suite. A .yaml file
    describes suites of the user's own.
    `read_prompts` reads a file that belongs to no suite.
    """
    own = own_suites(files)
    others = [text for text in files if not is_own(text)]
    unnamed = [text for text in others if "=" not in text or is_file(Path(text))]
    named = [_suite_and_file(text) for text in others if text not in unnamed]
    names = [*(name for name, _ in named), *(Path(path).stem for path in unnamed)]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"--suite-file: two files are called {quoted(twice[0])}. Give one a name: NAME=FILE")
    given = dict(named)
    wanted = {suite.name: suite for word in (words, *given) if word for suite in find_suites(word)}
    found = {name: _prompts(suite, given.get(name)) for name, suite in wanted.items()}
    found |= {one.suite.name: _prompts(one.suite, one.path) for one in own}
    for path in unnamed:
        stem = Path(path).stem
        found[path if stem in found else stem] = read_prompts(path)
    return found


def _prompts(suite: Suite, given: Path | None) -> list[str]:
    items = suite_data(suite, given).items
    return [without_instruction(item.prompt, suite.instruction) for item in items]
