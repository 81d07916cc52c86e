"""A completion that streams, translated from a family's own markers to <think> markers."""

from alttrain_cli.structure.template import Template


class TranslatedText:
    """Text with <think> markers: a partial message and its continuation by the model."""

    def __init__(self, template: Template, started: str) -> None:
        self._translator = template.translator()
        self._parts = [template.plain(template.own(started))] if started else []
        self._known = len("".join(self._parts))  # characters of it that the translator will give once more
        if started:
            self._new(self._translator.feed(template.own(started)))

    @property
    def text(self) -> str:
        """All of it, the beginning included."""
        return "".join(self._parts)

    def add(self, text: str) -> str:
        """Take what the model wrote; return what it adds to the text."""
        return self._append(self._translator.feed(text))

    def finish(self) -> str:
        return self._append(self._translator.finish())

    def _append(self, translated: str) -> str:
        new = self._new(translated)
        self._parts.append(new)
        return new

    def _new(self, translated: str) -> str:
        known = min(self._known, len(translated))
        self._known -= known
        return translated[known:]
