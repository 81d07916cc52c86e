"""The traps of a tokenizer and its chat template, found with the checks that training itself makes."""

from collections.abc import Callable, Iterator

from alttrain_cli.doctor.finding import Finding, Level, note, ok, problem
from alttrain_cli.errors import ModelError
from alttrain_cli.structure.markers import THINK
from alttrain_cli.structure.probing import (
    PROBE,
    Probing,
    Tokenizer,
    assistant,
    check_round_trip,
    dropped_parts,
    terminator_of,
    user,
)
from alttrain_cli.structure.rendering import render
from alttrain_cli.structure.row import Row
from alttrain_cli.structure.template import RenderError, Template

REASONING = "\N{CLOUD}reasoning\N{CLOUD}"
_ELSEWHERE = "Nothing to do in alttrain. In other tools: "
_NO_SYSTEM = "Train without one: add --set model.system=null to alttrain train."
_OTHER_COPY = "Use another copy of the model, or correct its chat template."


def find_traps(tokenizer: Tokenizer, system: str | None, row: Row) -> list[Finding]:
    """Return the findings about a tokenizer and its chat template, on a conversation and a training row."""
    found = [_checked("text", lambda: check_round_trip(tokenizer), "every character comes back")]
    try:
        probing = Probing.of(tokenizer)
    except ModelError as error:
        return [*found, problem("chat template", str(error), _OTHER_COPY)]
    if found[0].level is Level.OK:  # else what the tokenizer loses would look dropped by the template
        found += _dropped(tokenizer, probing, system)
    found += _turn(tokenizer, probing)
    found += _thinking(tokenizer, probing)
    found += _start(tokenizer, probing)
    found.append(_row(tokenizer, system, row))
    return found


def _checked(check: str, run: Callable[[], object], fine: str) -> Finding:
    try:
        run()
    except ModelError as error:
        return problem(check, str(error), "Load the tokenizer of the model's own repository.")
    return ok(check, fine)


def _dropped(tokenizer: Tokenizer, probing: Probing, system: str | None) -> Iterator[Finding]:
    """Yield the parts that the chat template drops. A system prompt matters only if the recipe has one."""
    try:
        lost = list(dict.fromkeys(dropped_parts(tokenizer, probing, with_system=True)))
    except ModelError as error:
        lost = list(dropped_parts(tokenizer, probing, with_system=False))
        found = problem if system else note
        yield found("system prompt", str(error), _NO_SYSTEM)
    for what in lost:
        optional = what == "the system prompt" and not system
        cure = _NO_SYSTEM if what == "the system prompt" else _OTHER_COPY
        yield (note if optional else problem)("conversation", f"the chat template drops {what}", cure)
    if not lost:
        yield ok("conversation", "question, answer and system prompt are all rendered")


def _turn(tokenizer: Tokenizer, probing: Probing) -> Iterator[Finding]:
    """Yield how a turn ends, and whether padding could hide that end."""
    try:
        terminator = terminator_of(tokenizer, probing)
    except ModelError as error:
        yield problem("end of turn", str(error), _OTHER_COPY)
        return
    eos, pad = tokenizer.eos_token, getattr(tokenizer, "pad_token", None)
    if terminator == eos:
        yield ok("end of turn", f"{terminator}, also the end-of-sequence token")
    else:
        words = f"{terminator}, but the end-of-sequence token is {eos}"
        yield note("end of turn", words, f"{_ELSEWHERE}add {terminator} as a stop token.")
    if pad is not None and pad in (eos, terminator):
        yield note(
            "padding",
            f"the padding token is {pad}, which also ends a turn",
            f"{_ELSEWHERE}a collator that masks padding also masks the end, and the model never stops.",
        )
    else:
        yield ok("padding", f"{pad}, another token than the end of turn" if pad else "no padding token")


def _thinking(tokenizer: Tokenizer, probing: Probing) -> Iterator[Finding]:
    """Yield the findings about reasoning: whether it is kept, and where it starts."""
    messages = [user("."), assistant(f"{THINK.open}{REASONING}{THINK.close}{PROBE}")]
    try:
        is_kept = REASONING in render(tokenizer, messages, add_generation_prompt=False)
    except ModelError as error:
        yield note("reasoning", str(error), "None needed: alttrain renders the response itself.")
    else:
        cure = f"{_ELSEWHERE}rows rendered by the chat template train without reasoning."
        deleted = note("reasoning", "the chat template deletes an assistant's reasoning", cure)
        yield ok("reasoning", "the chat template keeps an assistant's reasoning") if is_kept else deleted
    if probing.prompt.rstrip().endswith(THINK.bare_open):
        yield note(
            "prefilled marker",
            "the prompt already ends in <think>, so a response starts inside the reasoning",
            f"{_ELSEWHERE}a response holds </think> without <think>; do not add a second <think>.",
        )


def _start(tokenizer: Tokenizer, probing: Probing) -> Iterator[Finding]:
    """Yield whether a prompt gets two BOS tokens, and whether the family has markers of its own."""
    bos = probing.vocabulary.get(tokenizer.bos_token or "")
    if bos is not None and tokenizer.encode(probing.prompt, add_special_tokens=True)[:2] == [bos, bos]:
        yield note(
            "start of text",
            f"the chat template writes {tokenizer.bos_token}, and the tokenizer adds it again",
            f"{_ELSEWHERE}tokenise a rendered prompt with add_special_tokens=False.",
        )
    if THINK.bare_open not in probing.vocabulary and "You are Qwen" not in probing.prompt:
        yield note(
            "family",
            "not a known reasoning model: its vocabulary has no token <think>",
            "Training works, with <think> as ordinary text. A model that reasons already learns faster.",
        )


def _row(tokenizer: Tokenizer, system: str | None, row: Row) -> Finding:
    """Render a row as training does, with all of training's checks."""
    try:
        encoded = Template.of(tokenizer, system).encode(row.prompt, row.trace)
    except (ModelError, RenderError) as error:
        return problem("training row", str(error), "Training would stop with this line. Fix it first.")
    given = len(encoded.input_ids) - encoded.trained
    return ok("training row", f"rendered and read back: {given} tokens given, {encoded.trained} trained")
