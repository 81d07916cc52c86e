"""Where an evaluation writes: one process at a time, and never over files of other programs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alttrain_cli.evaluation.judge_card import read_cards
from alttrain_cli.storage.files import refuse_foreign
from alttrain_cli.storage.folder_state import FolderState
from alttrain_cli.storage.lock import lock_folder

# How the files open that are replaced; completions and judgements are only added to.
_PLAN = '{\n  "suite": '
_CARD = '{\n  "schema": '
_PAGE = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security'
)


@contextmanager
def claim_folders(roots: Sequence[Path], folders: Sequence[str] = ()) -> Iterator[None]:
    """Keep other processes out of the roots while the block lasts; one that stays empty is removed.

    `folders` are those of the suites that will be planned.
    """
    with ExitStack() as stack:
        for root in {os.path.realpath(root): root for root in roots}.values():
            for folder in folders:
                refuse_foreign(root / folder / "plan.json", _PLAN)
            spare_foreign(root)
            stack.callback(FolderState.begin(root, ()).undo)
            stack.enter_context(lock_folder(root))
        yield


def spare_foreign(root: Path) -> None:
    """Refuse to replace scorecards that alttrain did not write."""
    refuse_foreign(root / "scorecard.json", _CARD)
    refuse_foreign(root / "scorecard.html", _PAGE)
    read_cards(root)
