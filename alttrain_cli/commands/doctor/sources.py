"""What `alttrain doctor --sources` finds of the published data: suites, and sets of traces."""

from collections.abc import Iterator

from alttrain_cli.data.published_files import FILES, PublishedFile
from alttrain_cli.data.sources import PUBLIC, ROWS, Source, published_revision, records
from alttrain_cli.doctor.finding import Finding, note, ok, problem
from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.check import ONLINE, check_suite
from alttrain_cli.evaluation.suites.suite import all_suites
from alttrain_cli.library_output import capture_output
from alttrain_cli.network import is_offline
from alttrain_cli.progress import Progress


def source_findings(progress: Progress) -> Iterator[Finding]:
    """Yield a finding for each suite and each named set of traces. A wrong hash or count is a problem."""
    suites = list(all_suites().values())
    for done, suite in enumerate(suites):
        progress.show("sources", done, len(suites), suite.name)
        with capture_output(None):
            found = check_suite(suite)
        if found.is_right is None:
            yield note(suite.name, found.found, found.cure)
        elif found.is_right:
            yield ok(suite.name, found.found)
        else:
            yield problem(suite.name, found.found, found.cure)
    for name in PUBLIC:
        progress.show("sources", len(suites), len(suites), name)
        yield _hub_set(name)
    yield from map(_published_file, FILES.values())


def _hub_set(name: str) -> Finding:
    """Return what is wrong with a set on the hub: what is there now is read and counted."""
    revision = None if is_offline() else published_revision(name)
    if not revision:
        return note(name, f"{PUBLIC[name]}: the hub did not answer", "Give a downloaded file: --source FILE")
    try:
        with capture_output(None):
            found = sum(1 for _ in records(Source(PUBLIC[name], revision=revision)))
    except DataError as error:
        return problem(name, str(error), "Connect to the network, and repeat.")
    words = f"{found:,} rows; {PUBLIC[name]} is at {revision[:10]}"
    if found != ROWS.get(name, found):
        cure = "Its authors changed it. Results with it cannot be compared with earlier ones."
        return problem(name, f"{words}; its authors name {ROWS[name]:,}", cure)
    return ok(name, words)


def _published_file(file: PublishedFile) -> Finding:
    """Return what is wrong with a set that is published as a file: its number of rows is known."""
    if not file.kept.is_file() and is_offline():
        return note(file.name, "not on this machine, and not downloaded: offline", ONLINE)
    try:
        found = sum(1 for _ in records(Source(file.name)))
    except DataError as error:
        return problem(file.name, str(error), _download_again(file))
    if found != file.rows:
        words = f"{file.kept}: {found:,} rows; its authors name {file.rows:,}"
        return problem(file.name, words, _download_again(file))
    return ok(file.name, f"{found:,} rows; revision {file.revision[:10]}")


def _download_again(file: PublishedFile) -> str:
    if file.kept.is_file():
        return f"Delete this file, and repeat: it is downloaded again.\n{file.kept}"
    return "Connect to the network, and repeat."
