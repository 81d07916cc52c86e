"""The names in a study's file: styles, suites, judges, columns, a paper; and what they need beside them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from alttrain_cli.data.annotators import ANNOTATORS
from alttrain_cli.data.styles import STYLES
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.choices import GROUPS
from alttrain_cli.evaluation.judges.catalogue import CHOSEN, find_judges
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.presets import find_preset, preset_names
from alttrain_cli.evaluation.published_tables import all_published
from alttrain_cli.evaluation.suites.suite import all_suites
from alttrain_cli.recipe.overrides import keys_given, origin
from alttrain_cli.study.file import StudyFile, suites_of
from alttrain_cli.study.table import POOLS
from alttrain_cli.text import quoted, suggest

TO_LIST = {"suites": "To list them: alttrain eval suites", "judges": "To list them: alttrain eval judges"}


def check_names(study: StudyFile, path: Path, overrides: Sequence[str]) -> None:
    """Refuse a name that means nothing, before anything is planned.

    Errors name the study's file, or the --set that gave the name.
    """
    for key, names, known in _names(study):
        for name in names:
            if name not in known:
                hint = suggest(name, known, TO_LIST.get(key, ""))
                place = origin(key.split("."), overrides, path)
                raise DataError(f"{place} {key}: {quoted(name)} is not known. {hint}")
    if study.eval.preset and study.eval.max_new_tokens is None:
        find_preset(study.eval.preset).check_suites(suites_of(study))
    if problem := next(_lacks(study), None):
        key, words = problem
        raise DataError(f"{origin(key.split('.'), overrides, path)} {key}: {words}")


def in_file(error: str, path: Path, overrides: Sequence[str]) -> str:
    """Return an error of a recipe. What it says of `--set` is of the study's key, as typed or in its file."""
    typed = next((key[: key.index("set") + 1] for key in keys_given(overrides) if "set" in key), ())
    place = f"--set {'.'.join(typed)}." if typed else f"{path}: train.set: "
    return f"{place}{error.removeprefix('--set ')}" if error.startswith("--set ") else error


def _lacks(study: StudyFile) -> Iterator[tuple[str, str]]:
    """Yield a key whose value needs another one, and in words which."""
    attacked = [one.name for one in suites_of(study) if one.attack and one.attack.needs_attacker]
    if attacked and not study.eval.names_attacker:
        hint = "Add it to the study, for example eval: {attacker: base}"
        yield "suites", f"{attacked[0]} needs a model that attacks. {hint}"
    if study.eval.names_attacker and not attacked:
        key = "eval.attacker" if study.eval.attacker else "eval.attacker_url"
        yield key, "has no effect without an adaptive suite, for example suites: [crescendo]"
    for judge in find_judges(",".join(study.judges)):
        if isinstance(judge, Judge) and judge.model is None and study.judge.judge_url is None:
            hint = "Add it to the study, for example judge: {judge_url: http://localhost:8000/v1}"
            yield "judges", f"{judge.name} needs a language model on a server. {hint}"


def _names(study: StudyFile) -> Iterator[tuple[str, Sequence[str], list[str]]]:
    """Yield a key of the file, the names in it, and those that there are."""
    papers = all_published()
    named = [study.table.published] if study.table.published else []
    yield "table.published", named, [*papers]
    yield "suites", study.suites, [*all_suites(), *GROUPS]
    yield "judges", study.judges, [*CHOSEN]
    yield "eval.preset", [study.eval.preset] if study.eval.preset else [], preset_names()
    methods = {f"methods.{name}": how for name, how in study.methods.items() if how is not None}
    for at, settings in {"data": study.data, **methods}.items():
        yield f"{at}.style", [settings.style] if settings.style else [], [*STYLES]
        yield f"{at}.annotator", [settings.annotator] if settings.annotator else [], [*ANNOTATORS]
    means = [one.name for paper in named for one in papers[paper].macros]
    suites = [suite.name for suite in suites_of(study)]
    yield "table.columns", study.table.columns, [*POOLS, *means, *suites]
