"""Whom a chat talks to, and the loading of it while a person types already."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from alttrain_cli.backends.address import shown
from alttrain_cli.backends.endpoint import Endpoint
from alttrain_cli.backends.server_speaker import ServerSpeaker
from alttrain_cli.backends.speaker import Speaker
from alttrain_cli.backends.target import Target
from alttrain_cli.engine import quiet
from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.run import Run

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Whom:
    """A target on this machine, or one model of a server. Nothing is loaded yet."""

    name: str
    recipe: Recipe
    target: Target | None = None  # None: a server
    base_url: str = ""  # may hold a password: only `shown` of it goes to the screen
    model: str | None = None
    warn: Tell = lambda _: None  # of a server that makes us wait

    def check_comparable(self) -> None:
        """Look whether base and aligned model can be had from one load: an adapter on and off.

        Raises:
            AlttrainError: saying why not, and what to do instead.
        """
        if self.target is None:
            raise AlttrainError(
                f"{self.name} is a server's: there is no adapter that could be taken off to compare. "
                "Talk to base and aligned model in turn, or give a run on this machine."
            )
        if self.target.adapter is None:
            raise AlttrainError(
                f"{self.name} has no adapter that could be taken off to compare. "
                "Give a run: alttrain chat RUN --compare"
            )
        if self.recipe.model.full_finetuning:
            raise AlttrainError(
                f"{self.name} was fully fine-tuned: there is no adapter that could be taken off to compare. "
                "Talk to it and, with --base, to its base in turn; alttrain eval puts both side by side."
            )

    @property
    def run(self) -> Run | None:
        """The run that what was trained comes from."""
        adapter = self.target.adapter if self.target else None
        run = Run(adapter.parent) if adapter else None
        return run if run and run.recipe_path.is_file() else None

    def load(self, tell: Tell) -> Speaker:
        """Load the model or find the server, telling what is being done."""
        if self.target is None:
            tell(f"asking {shown(self.base_url)}")
            return ServerSpeaker(Endpoint.find(self.base_url, self.model, self.warn))
        with quiet.captured(None):
            from alttrain_cli.backends.local_speaker import ModelSpeaker

            return ModelSpeaker.load(self.target, tell)

    def warning(self, speaker: Speaker) -> str:
        """Return what is suspicious about what was loaded, or nothing."""
        trained_with = self.run.manifest().template if self.run else None
        if trained_with in (None, speaker.fingerprint):
            return ""
        return "The model's chat template is not the one that this run was trained with."


class Loading:
    """Loads in a thread of its own."""

    def __init__(self, whom: Whom) -> None:
        self._whom = whom
        self._doing = "starting"
        self._begun = time.monotonic()
        self._speaker: Speaker | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        if self._error:
            return f"{self._whom.name} could not be loaded; Enter says why"
        if self._speaker:
            return self._speaker.name
        return f"loading {self._whom.name}: {self._doing}, {time.monotonic() - self._begun:.0f} s"

    @property
    def under_way(self) -> bool:
        """Whether it is still loading."""
        return self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether there will be nobody to talk to."""
        return self._error is not None

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it is loaded, or for some seconds."""
        self._thread.join(seconds)

    def speaker(self) -> Speaker:
        """Return what was loaded.

        Raises:
            ModelError, EndpointError: if it could not be.
        """
        self.wait()
        if self._error:
            raise self._error
        assert self._speaker is not None
        return self._speaker

    def _work(self) -> None:
        def tell(doing: str) -> None:
            self._doing = doing

        try:
            self._speaker = self._whom.load(tell)
        except BaseException as error:
            self._error = error
