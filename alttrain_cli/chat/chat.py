"""One chat: its model, transcript, settings and file. Knows neither typed lines nor how a screen draws."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from alttrain_cli.backends.base import Backend
from alttrain_cli.chat.exchange import Exchange, fit, send
from alttrain_cli.chat.files import FOLDER, ChatFile
from alttrain_cli.chat.loader import BackgroundLoader, ChatTarget, Load
from alttrain_cli.chat.screen import Terminal
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript, Turn
from alttrain_cli.errors import AlttrainError
from alttrain_cli.storage.journal import Log


class Chat:
    """A conversation that a person has with a model that may still be loading.

    Without a file it is not saved.
    """

    def __init__(
        self,
        target: ChatTarget,
        load: Load,
        transcript: Transcript,
        settings: Settings,
        screen: Terminal,
        file: ChatFile | None = None,
    ) -> None:
        self.target = target
        self.settings = settings
        self.screen = screen
        self.file = file
        self.compare = False
        self.last: Exchange | None = None
        self._comparison: Exchange | None = None
        self._backend: Backend | None = None
        self._is_answered = False  # the last message; an equal one may be in the transcript before it
        self.loader = BackgroundLoader(target.name, load)
        self._start(transcript)

    def backend(self) -> Backend:
        """Return the backend; the first time, wait for it and show that."""
        if self._backend is None:
            if self.loader.running:
                with self.screen.waiting(lambda: str(self.loader)) as update:
                    while self.loader.running:
                        self.loader.wait(0.2)
                        update()
            self._backend = self.loader.backend()
            if warning := self.target.warning(self._backend):
                self.loader.warn(warning)
            self._say_warnings()
            self.settings = fit(self.settings, self._backend, self.screen)
        return self._backend

    @property
    def whole_name(self) -> str:
        """The name of the model; of a server's model, with the server's address."""
        if self.target.target is not None:
            return self.target.name
        backend = self.backend()
        return f"{backend.name} at {backend.fingerprint.server}"

    def facts(self) -> list[tuple[str, object]]:
        """Return the facts about the model. For a server's model these are the server's reports."""
        if self.target.target is not None:
            return [("model", self.target.name), ("base", self.target.recipe.model.name)]
        backend = self.backend()
        context = "not reported by the server" if backend.context is None else f"{backend.context:,} tokens"
        return [("model", backend.name), ("server", backend.fingerprint.server), ("context", context)]

    def calibration(self) -> str:
        """Return the calibrated threshold of the run in words, or why it does not hold; empty without one."""
        run = self.target.run
        try:
            found = run.calibration() if run else None
        except AlttrainError as error:
            return str(error)
        return found.in_words() if found else ""

    def send(self, prompt: str, *, compare: bool | None = None) -> None:
        """Send a message, and add it with its completion to the transcript. `compare` None: as set."""
        self.begin(prompt)
        self._add(self._send(prompt, self.transcript, self.compare if compare is None else compare))

    def begin(self, prompt: str) -> None:
        """Take a message for `retry`, before it is sent."""
        self.prompt, self._is_answered = prompt, False

    def _add(self, exchange: Exchange) -> None:
        self.last, completion = exchange, exchange.completion
        notes: dict[str, Any] = {
            "model": completion.model,
            "seed": self.settings.sent_seed,
            "verdict": completion.trace.verdict.value,
            "forced": completion.stats.forced,
            "tokens": completion.stats.tokens,
            "seconds": round(completion.stats.seconds, 2),
        }
        self.transcript.turns.append(Turn.of(exchange.prompt, completion.trace, **notes))
        self._is_answered = True
        self._save()

    def retry(self) -> None:
        """Send the last message again. With sampling the next seed is used: the same one repeats itself.

        Its answer stays until there is another one.
        """
        prompt, before = self._last_prompt(), self._before_last()
        if self.settings.sampling.do_sample:
            self.settings = replace(self.settings, seed=self.settings.seed + 1)
        exchange = self._send(prompt, before, self.compare)
        self.transcript = before
        self._add(exchange)

    def compare_again(self) -> None:
        """Compare base and fine-tuned model on the last message. The transcript stays as it is."""
        self._send(self._last_prompt(), self._before_last(), compare=True)

    def save_comparison(self) -> Path:
        """Append the last comparison to compare.jsonl in the run's folder, or in chats/; return its path."""
        if self._comparison is None:
            raise AlttrainError("There is no comparison to save. Run /compare first.")
        run = self.target.run
        path = (run.path if run else FOLDER) / "compare.jsonl"
        Log(path).append(self._comparison.record())
        return path

    def undo(self) -> Turn:
        turn = self.transcript.undo()
        if turn is None:
            raise AlttrainError("There is no turn to remove.")
        self._is_answered = False
        self._save()
        return turn

    def restart(self, transcript: Transcript) -> None:
        """Continue with another transcript, in a new file."""
        self._start(transcript)
        if self.file:
            self.file = ChatFile(self.target.name)

    def _start(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.prompt = transcript.turns[-1].prompt if transcript.turns else ""
        self._is_answered = bool(transcript.turns)

    def _send(self, prompt: str, transcript: Transcript, compare: bool) -> Exchange:
        try:
            exchange = send(self.backend(), transcript, prompt, self.settings, self.screen, compare=compare)
        finally:
            self._say_warnings()
        if compare:
            self._comparison = exchange
        return exchange

    def _say_warnings(self) -> None:
        """Show what the backend has warned of: not while a completion is drawn."""
        for warning in self.loader.warnings():
            self.screen.say(warning, "warning")

    def _save(self) -> None:
        if self.file:
            self.file.save(self.transcript)

    def _last_prompt(self) -> str:
        if not self.prompt:
            raise AlttrainError("There is no message yet. Send one first.")
        return self.prompt

    def _before_last(self) -> Transcript:
        return self.transcript.before_last() if self._is_answered else self.transcript
