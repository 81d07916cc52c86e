"""The prompts of the suites on which a model will be evaluated: they must not be in its training data."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.published import suite_data
from alttrain_cli.evaluation.suites.suite import find_suites
from alttrain_cli.storage.reading import is_file
from alttrain_cli.text import shown


def suite_prompts(
    words: str, files: Sequence[str], read_prompts: Callable[[str], list[str]]
) -> dict[str, list[str]]:
    """Return {suite: prompts} of the suites in `words` and of `files`, each NAME=FILE or any file of prompts.

    `read_prompts` reads a file that belongs to no suite.
    """
    pairs = [(text, "", "") if is_file(Path(text)) else text.partition("=") for text in files]
    names = [name if equals else Path(name).stem for name, equals, _ in pairs]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"--suite-file: two files are called {shown(twice[0])}. Give one a name: NAME=FILE")
    given = {name: Path(path) for name, equals, path in pairs if equals}
    wanted = {suite.name: suite for word in (words, *given) if word for suite in find_suites(word)}
    found = {
        name: [item.prompt for item in suite_data(suite, given.get(name)).items]
        for name, suite in wanted.items()
    }
    for path in (path for path, equals, _ in pairs if not equals):
        stem = Path(path).stem
        found[path if stem in found else stem] = read_prompts(path)
    return found
