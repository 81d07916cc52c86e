"""An adapter on a vLLM server that runs already: a run of this machine is rendered as in its training."""

import re
from pathlib import Path

from alttrain_cli.backends.address import is_here
from alttrain_cli.backends.base import Fingerprint
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.backends.endpoint import Endpoint, Tell
from alttrain_cli.backends.rendered_server import RenderedServer
from alttrain_cli.backends.server import WEIGHTS, ServerBackend
from alttrain_cli.backends.server_tokenizer import ServerTokenizer
from alttrain_cli.backends.target import Target, find_target
from alttrain_cli.errors import AlttrainError
from alttrain_cli.storage.reading import is_file
from alttrain_cli.structure.probing import PROBE
from alttrain_cli.structure.template import Template

_SHOWN = 100  # characters of a system prompt


def as_trained(backend: ServerBackend, warn: Tell) -> ServerBackend:
    """Return a backend that renders an adapter's prompts as in its training, if its run is on this machine.

    Else `warn` gets a line if the server's chat template adds a system prompt: the run may have another one.
    """
    first = backend.endpoints[0]
    if not first.dialect.renders or first.listed.base is None:
        return backend
    if (known := _run_of(first)) is not None:
        target, template = known
        found = backend.fingerprint
        fingerprint = Fingerprint(
            found.name, found.model, f"{WEIGHTS}, prompts {template.fingerprint[:16]}", server=found.server
        )
        return RenderedServer(backend.endpoints, target, template, fingerprint, backend.in_flight)
    if text := _system_text(first):
        warn(
            f"{first.model}: the server's chat template adds the system prompt {text!r}. If the run was "
            "trained with another one, its prompts differ here. On the run's own machine use --engine vllm."
        )
    return backend


def _run_of(endpoint: Endpoint) -> tuple[Target, Template] | None:
    """Return the run whose adapter a server of this machine has loaded, with its template."""
    from alttrain_cli.engine.load import load_template

    folder = Path(endpoint.listed.folder or "")
    if not (folder.is_absolute() and is_here(endpoint.base_url) and is_file(folder.parent / "recipe.yaml")):
        return None
    try:
        target = find_target(str(folder.parent))
        return (target, load_template(target.recipe)) if target.adapter == folder else None
    except AlttrainError:  # its base model is only where the server has it
        return None


def _system_text(endpoint: Endpoint) -> str:
    """Return the text of the chat template before the first user's message, without its markers."""
    rendered = ServerTokenizer(endpoint).rendered(Conversation.of(PROBE)) or ""
    text = re.sub(r"<[^<>]*>|\[/?\w+\]|^\s*(system|user)\s*$", "", rendered.partition(PROBE)[0], flags=re.M)
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN else words[:_SHOWN] + " ..."
