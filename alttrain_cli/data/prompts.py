"""The prompts of any file, for example of prompts that must not be in the training data."""

from alttrain_cli.data.samples import Reading
from alttrain_cli.data.sources import Source
from alttrain_cli.errors import DataError
from alttrain_cli.storage.tables import FORMATS


def read_prompts(path: str) -> list[str]:
    """Return the prompts of a file in any format of sources."""
    source = Source(path)
    if not source.is_file:
        raise DataError(f"--suite-file {path}: cannot tell what it is; give a {', '.join(FORMATS)} file.")
    reader = Reading(needs_label=False, needs_response=False)
    return [sample.prompt for sample in reader.samples(source)]
