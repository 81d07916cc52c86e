"""The table of the recipes on the screen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import out, print_table
from alttrain_cli.recipe.difference import RecipeDifference
from alttrain_cli.training.time_plan import AGAIN

if TYPE_CHECKING:
    from alttrain_cli.training.fit import RecipeFit

_COLUMNS = ("recipe", "memory", "time", "fit", "model")
_WIDE = 100  # columns; in fewer, the owners of models are left out, so that a recipe is one line


def print_recipe_fits(
    groups: Sequence[Sequence["RecipeFit"]], judges: Mapping[str, int | None], machine: str, longest: int
) -> None:
    """Print how recipes fit on a machine, for rows of up to `longest` tokens, and in how many bits judges do.

    Each group has a line, for its first recipe. The others are listed as its variants.
    """
    heads = [group[0] for group in groups]
    is_wide = out().width >= _WIDE
    source = heads[0].time.source.removesuffix(AGAIN) if heads[0].time else "unknown"
    source = source.replace(" of this CPU", "")  # its machine is named
    print_table(_COLUMNS, [_line(fit, is_wide) for fit in heads], left=(0, 3, 4), whole=(0,))
    variants = [f"{head.recipe}: {', '.join(one.recipe for one in more)}" for head, *more in groups if more]
    print_lines(
        [
            *([("variants:", "; ".join(variants))] if variants else []),
            ("machine:", machine),
            ("memory:", f"estimated minimum at {longest:,} tokens; full fine-tuning needs far more"),
            ("time:", f"1,000 rows, 1 to 15 epochs, {source}"),
            *([("judges:", "; ".join(_judges(judges)))] if judges else []),
        ]
    )


def print_differences(one: str, other: str, found: Sequence[RecipeDifference]) -> None:
    """Print the keys in which two recipes differ, each value with the file that it comes from."""
    if not found:
        print_lines([("no difference:", f"{one} and {other} have the same values")])
        return
    rows = [
        (key, *(f"{value}\n  {source}" for value, source in zip(values, sources, strict=True)))
        for key, values, sources in found
    ]
    print_table(("key", one, other), rows, left=(0, 1, 2), whole=(0,))


def _judges(judges: Mapping[str, int | None]) -> Iterator[str]:
    """Yield the judges that are loaded alike, in words."""
    for bits, words in ((16, "in 16 bits"), (4, "in 4 bits"), (None, "too big")):
        if names := [name for name, fits in judges.items() if fits == bits]:
            yield f"{', '.join(names)} {words}"


def _line(fit: "RecipeFit", is_wide: bool) -> tuple[str, ...]:
    time = fit.time.words if fit.time else "-"
    is_slow = fit.verdict == "fits" and fit.time and not fit.time.is_practical
    verdict = "too slow" if is_slow else "too big" if fit.verdict == "no" else fit.verdict
    model = fit.model if is_wide else fit.model.rpartition("/")[2]
    return (fit.recipe, f"{fit.memory_gib:.1f} GiB", time, verdict, model)
