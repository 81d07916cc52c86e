"""A chat template as strings around the messages, for programs that have a template language of their own."""

from dataclasses import dataclass

from alttrain_cli.errors import ModelError
from alttrain_cli.structure.probing import WireMessage, assistant, user
from alttrain_cli.structure.template import Template

_SYSTEM, _FIRST, _ANSWER, _NEXT = (
    f"\N{SNOWMAN}{name}\N{SNOWMAN}" for name in ("system", "first", "answer", "next")
)


@dataclass(frozen=True)
class Turns:
    """What a template writes around each message.

    Attributes:
        start: where a conversation has no system message; the recipe's system prompt is in it.
        system: before and after a system message; None for a family without them.
        generation: after the last user's message: here the model takes over.
    """

    start: str
    system: tuple[str, str] | None
    user: tuple[str, str]
    assistant: tuple[str, str]
    generation: str

    @classmethod
    def of(cls, template: Template) -> "Turns":
        """Find the strings by rendering, and make sure that they render as the template does."""
        question, answer = user(_FIRST), assistant(_ANSWER)
        long = _split(template.prompt([question, answer, user(_NEXT)]), _FIRST, _ANSWER, _NEXT)
        short = _split(template.prompt([question]), _FIRST)
        system = _system(template, question)
        opening = _common_end([long[0], long[2], *([system[1]] if system else [])])
        closing = _common_start([long[1], long[3]])
        turns = cls(
            start=short[0].removesuffix(opening),
            system=(system[0], system[1].removesuffix(opening)) if system else None,
            user=(opening, closing),
            assistant=(long[1].removeprefix(closing), long[2].removesuffix(opening)),
            generation=long[3].removeprefix(closing),
        )
        turns._check(template)
        return turns

    def prompt(self, messages: list[WireMessage]) -> str:
        """Render a conversation that ends in a user's message."""
        first = messages[0]
        has_system = first["role"] == "system" and self.system is not None
        text = f"{first['content']}".join(self.system) if has_system and self.system else self.start
        for message in messages[has_system:]:
            around = self.user if message["role"] == "user" else self.assistant
            text += message["content"].join(around)
        return text + self.generation

    def _check(self, template: Template) -> None:
        question, answer = user("How do I\nboil an egg?"), assistant("In water.")
        conversations = [
            [question],
            [question, answer, question],
            [question, answer, question, answer, question],
        ]
        if self.system:
            system = {"role": "system", "content": "Be brief."}
            conversations += [[system, *one] for one in conversations]
        for conversation in conversations:
            if self.prompt(conversation) != template.prompt(conversation):
                raise ModelError(
                    "this model's chat template cannot be written for Ollama: it depends on more than the "
                    "roles of the messages. Export it: --format gguf"
                )


def _system(template: Template, question: WireMessage) -> list[str] | None:
    try:
        rendered = template.prompt([{"role": "system", "content": _SYSTEM}, question])
    except ModelError:  # a family without system messages
        return None
    return _split(rendered, _SYSTEM, _FIRST)


def _split(text: str, *probes: str) -> list[str]:
    """Return the text before, between and after some probes."""
    parts = []
    for probe in probes:
        before, found, text = text.partition(probe)
        if not found:
            raise ModelError("this model's chat template changes messages. Export it: --format gguf")
        parts.append(before)
    return [*parts, text]


def _common_start(texts: list[str]) -> str:
    shortest = min(texts, key=len)
    ends = (at for at in range(len(shortest), 0, -1) if all(text.startswith(shortest[:at]) for text in texts))
    return shortest[: next(ends, 0)]


def _common_end(texts: list[str]) -> str:
    return _common_start([text[::-1] for text in texts])[::-1]
