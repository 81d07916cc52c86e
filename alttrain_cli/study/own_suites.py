"""The suites of a study: those that it names, and those whose prompts are in files of the user's own."""

from alttrain_cli.evaluation.suites.own_suites import OwnSuite, is_own, own_suites
from alttrain_cli.evaluation.suites.published import suite_data
from alttrain_cli.evaluation.suites.suite import Suite, find_suites
from alttrain_cli.study.file import StudyFile


def suites_of(study: StudyFile) -> tuple[Suite, ...]:
    """Return all suites of a study."""
    named = find_suites(",".join(study.suites)) if study.suites else []
    return (*named, *map(_as_it_is_now, own_suites([file for file in study.suite_files if is_own(file)])))


def _as_it_is_now(own: OwnSuite) -> Suite:
    """Return a suite with the number and the hash of the prompts in its file."""
    data = suite_data(own.suite, own.path)
    return own.suite.model_copy(update={"n": len(data.items), "sha256": data.sha256})
