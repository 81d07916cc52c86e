"""The prompts of the suites that a model will be measured on: they must not stand in its training data."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.commands.suite_data import suite_data
from alttrain_cli.data.samples import Reading
from alttrain_cli.data.sources import Source
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suite import find_suites


def suite_prompts(words: str, files: Sequence[str]) -> dict[str, list[str]]:
    """Return {suite: prompts} of the suites in `words` and of `files`, each NAME=FILE or any file of prompts.

    Raises:
        DataError: if a suite is unknown or cannot be had, or a file cannot be read.
    """
    pairs = [text.partition("=") for text in files]
    given: dict[str, Path] = {}
    for name, equals, path in pairs:
        if equals and name in given:
            raise DataError(f"--suite-file {name}={path}: {name} has a file already: {given[name]}.")
        if equals:
            given[name] = Path(path)
    wanted = {suite.name: suite for word in (words, *given) if word for suite in find_suites(word)}
    found = {
        name: [item.prompt for item in suite_data(suite, given.get(name)).items]
        for name, suite in wanted.items()
    }
    for path in (path for path, equals, _ in pairs if not equals):
        stem = Path(path).stem
        found[path if stem in found else stem] = _prompts(path)
    return found


def _prompts(path: str) -> list[str]:
    reading = Reading(needs_label=False, needs_response=False)
    return [sample.prompt for sample in reading.samples(Source(path))]
