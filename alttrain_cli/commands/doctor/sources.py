"""What `alttrain doctor --sources` finds of the published data: suites, and sets of traces."""

from collections.abc import Iterator

from alttrain_cli.data.sources import PUBLIC, published_revision
from alttrain_cli.doctor.finding import Finding, note, ok, problem
from alttrain_cli.engine import quiet
from alttrain_cli.engine.offline import is_offline
from alttrain_cli.evaluation.suites.check import check_suite
from alttrain_cli.evaluation.suites.suite import all_suites
from alttrain_cli.progress import Progress


def source_findings(progress: Progress) -> Iterator[Finding]:
    """Yield a finding for each suite and each named set of traces. A wrong hash or count is a problem."""
    suites = list(all_suites().values())
    for done, suite in enumerate(suites):
        progress.show("sources", done, len(suites), suite.name)
        with quiet.capture_output(None):
            found = check_suite(suite)
        if found.is_right is None:
            yield note(suite.name, found.found)
        elif found.is_right:
            yield ok(suite.name, found.found)
        else:
            yield problem(suite.name, found.found)
    for name, hub_id in PUBLIC.items():
        revision = None if is_offline() else published_revision(name)
        if revision:
            yield ok(name, f"{hub_id} is at {revision[:10]}; its rows are counted when they are built")
        else:
            yield note(name, f"{hub_id}: the hub did not answer", "Give a downloaded file: --source FILE")
