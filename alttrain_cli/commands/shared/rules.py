"""Which options have an effect together, and what a person typed."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from alttrain_cli.commands.shared.help import command_of as command_of
from alttrain_cli.storage.reading import is_file, is_folder
from alttrain_cli.storage.shipped_files import shipped_studies


class Rule(NamedTuple):
    """An option that has an effect only where something else is so."""

    option: str  # as it is typed
    given: bool
    has_effect: bool
    words: str  # where it has none: "without --do-sample", "with --audit"


def rule_of(ctx: typer.Context, name: str, has_effect: bool, words: str) -> Rule:
    """Return the rule of a parameter by its name in the code."""
    return Rule(option_of(ctx, name), is_given(ctx, name), has_effect, words)


def check(rules: Iterable[Rule]) -> None:
    """Refuse an option that would have no effect."""
    for rule in rules:
        if rule.given and not rule.has_effect:
            raise typer.BadParameter(f"{rule.option} has no effect {rule.words}.")


def check_not_empty(ctx: typer.Context, *may_be: str) -> None:
    """Refuse empty values: they look like an option that was left out. `may_be` names those that may be."""
    for name, values in _typed(ctx, may_be):
        if any(isinstance(one, str) and not one.strip() for one in values):
            raise typer.BadParameter(
                f"{option_of(ctx, name)} is empty. Give a value, or leave the option out.", ctx=ctx
            )


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether a parameter was typed, be it with its default."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def typed_again(ctx: typer.Context, *but: str) -> list[str]:
    """Return the words of a command line again, without the options in `but` and secrets of addresses.

    They mean the same in every folder: `eval run --suite x` evaluates the folder run, if there is one.
    """
    command, words = command_of(ctx).split(), words_of(ctx, [name for name in ctx.params if name not in but])
    first = getattr(ctx.parent.command, "first", None) if ctx.parent else None
    is_named = command[-1] != first or (words and not words[0].startswith("-"))
    return [*(command if is_named else command[:-1]), *words]


def words_of(ctx: typer.Context, names: Iterable[str]) -> list[str]:
    """Return those of these parameters that were typed, as they were, without secrets of addresses."""
    from alttrain_cli.backends.address import is_address, without_secrets

    words: list[str] = []
    for name, values in _typed(ctx, [other for other in ctx.params if other not in names]):
        option = option_of(ctx, name)
        before = [option] if option.startswith("-") else []
        for one in values:
            words += before if one is True else [*before, str(one)]
    return [without_secrets(word) if is_address(word) else word for word in words]


def _typed(ctx: typer.Context, but: Collection[str]) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the parameters that were typed, each with its values."""
    for name in (parameter.name or "" for parameter in ctx.command.params):
        if name not in but and is_given(ctx, name):
            value = ctx.params.get(name)
            yield name, value if isinstance(value, list | tuple) else [value]


def option_of(ctx: typer.Context, name: str) -> str:
    """Return a parameter as it is typed: --base-url, or RUN for an argument."""
    option = next(one for one in ctx.command.params if one.name == name)
    typed = option.opts[0]
    return typed if typed.startswith("-") else str(getattr(option, "metavar", None) or typed.upper())


def instead_of_missing(parameter: Any, command: str) -> str:
    """Return the next command where a run or a recipe is missing, or nothing."""
    from alttrain_cli.storage.run import Run

    if parameter.metavar == "RUN":
        runs = Run.trained()
        if command.endswith(" compare"):
            two = shlex.join(map(str, runs[:2]))
            return (
                f"For example: {command} {two}"
                if len(runs) > 1
                else "Name two runs. To list them: alttrain runs"
            )
        if not runs:
            return "There is no run here yet. To make one: alttrain train --recipe smollm2-135m"
        is_one = parameter.nargs == 1
        return (
            f"For example: {command} {shlex.quote(str(runs[0]))}" if is_one else "To list them: alttrain runs"
        )
    if parameter.metavar == "STUDY":
        names = ", ".join(path.stem for path in shipped_studies())
        return f"Shipped studies: {names}. For example: {command} smoke"
    if command == "alttrain recipes copy" and parameter.metavar == "FILE":
        return f"For example: {command} r1-7b own.yaml"
    is_recipe = "--recipe" in parameter.opts or command.startswith("alttrain recipes ")
    return "To list the recipes: alttrain recipes" if is_recipe else ""


def set_instead(option: str, command: str) -> str:
    """Return what takes the place of an option that a command lacks, mostly --set; or nothing."""
    from alttrain_cli.chat.settings import SETTINGS
    from alttrain_cli.recipe.model import key_called

    name = option.lstrip("-").replace("-", "_")
    if (command, name) == ("train", "config"):  # what other tools call it
        return "--recipe"
    known = {"chat": name if name in SETTINGS else "", "train": key_called(name)}
    return f"--set {known[command]}=VALUE" if known.get(command) else ""


def rules_alone(ctx: typer.Context, name: str, *beside: str) -> list[Rule]:
    """Return the rules of an option with which only those in `beside` have an effect."""
    words = f"with {option_of(ctx, name)}"
    others = [other for other in ctx.params if other not in (name, *beside)]
    return [rule_of(ctx, other, False, words) for other in others if is_given(ctx, name)]


def recipe_rule(target: str | None, recipe: str | None) -> Rule:
    """Return the rule for --recipe with a target: a run and a recipe's name have their own."""
    path = Path(target or "")
    is_hub_id = "/" in (target or "") and not str(target).endswith((".yaml", ".yml"))
    takes_one = not is_file(path / "recipe.yaml") if is_folder(path) else is_hub_id
    return Rule("--recipe", bool(target and recipe), takes_one, f"on {target}, which has its own recipe")
