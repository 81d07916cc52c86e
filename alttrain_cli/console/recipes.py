"""The table of the recipes on the screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alttrain_cli.console.terminal import fitted, out, print_lines, print_table
from alttrain_cli.recipe.difference import Difference

if TYPE_CHECKING:
    from alttrain_cli.training.fit import RecipeFit

_COLUMNS = ("recipe", "size", "memory", "time", "verdict", "model")


def print_recipe_fits(fits: Sequence["RecipeFit"], machine: str, longest: int) -> None:
    """Print how recipes fit on a machine, for rows of up to `longest` tokens."""
    columns, rows = fitted(_COLUMNS, [_line(fit) for fit in fits], out().width)
    print_table(columns, rows, left=(0, 4, 5), whole=(0,))
    print_lines(
        [
            ("machine:", machine),
            (
                "memory:",
                f"needed at least, estimated, for rows of {longest:,} tokens or the recipe's limit",
            ),
            ("time:", f"of training on 1,000 rows: {fits[0].time.source if fits[0].time else 'unknown'}"),
        ]
    )


def print_differences(one: str, other: str, found: Sequence[Difference]) -> None:
    """Print the keys in which two recipes differ, each value with the file that it comes from."""
    if not found:
        print_lines([("no difference:", f"{one} and {other} have the same values")])
        return
    rows = [
        (key, *(f"{value}\n  {source}" for value, source in zip(values, sources, strict=True)))
        for key, values, sources in found
    ]
    print_table(("key", one, other), rows, left=(0, 1, 2))


def _line(fit: "RecipeFit") -> tuple[str, ...]:
    large = fit.parameters > 1e9
    size = f"{fit.parameters / 1e9:.1f} B" if large else f"{fit.parameters / 1e6:.0f} M"
    time = fit.time.words if fit.time else "-"
    is_slow = fit.verdict == "fits" and fit.time and not fit.time.is_practical
    verdict = "too slow" if is_slow else fit.verdict
    return (fit.recipe, size, f"{fit.memory_gib:.1f} GiB", time, verdict, fit.model)
