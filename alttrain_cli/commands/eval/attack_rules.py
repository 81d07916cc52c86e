"""The rules of `alttrain eval` for adaptive suites, and the items that they play."""

from collections.abc import Sequence
from pathlib import Path

from alttrain_cli.commands.eval.run_options import RunOptions
from alttrain_cli.commands.shared.rules import Rule
from alttrain_cli.errors import AlttrainError, DataError
from alttrain_cli.evaluation.attacks.replay import replayed
from alttrain_cli.evaluation.eval_target import existing_target
from alttrain_cli.evaluation.suites.items import LoadedSuite
from alttrain_cli.evaluation.suites.own_suites import is_own
from alttrain_cli.evaluation.suites.published import read_suites
from alttrain_cli.evaluation.suites.suite import Suite
from alttrain_cli.progress import Progress


def read_attacks(
    word: str | None, suites: Sequence[Suite], files: dict[str, Path], progress: Progress
) -> list[tuple[Suite, LoadedSuite]]:
    """Read the suites, or for a replay what was recorded of them against the target `word`."""
    if word is None:
        return read_suites(suites, files, progress)
    try:
        root = existing_target(word).root
    except AlttrainError as error:
        raise DataError(f"--replay: {error}") from None
    return replayed(suites, root, word)


def attack_rules(options: RunOptions, suites: Sequence[Suite], *, served: bool) -> list[Rule]:
    replay = options.replay is not None
    found = {one.name: one.attack.replayed("") if replay else one.attack for one in suites if one.attack}
    none = "without an adaptive suite, for example --suite crescendo"
    elsewhere = "with --replay" if replay else "" if found else none
    published = any(not is_own(text) for text in options.suite_file or ())
    return [
        *options.attack_rules(found, elsewhere, served=served),
        Rule("--replay", replay, bool(found), none),
        Rule("--suite-file NAME=FILE", published, not replay, "with --replay"),
        Rule("--thinking-mode", options.thinking_mode != "normal", not found, f"with {' and '.join(found)}"),
    ]
