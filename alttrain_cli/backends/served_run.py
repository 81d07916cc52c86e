"""A model on a vLLM server that runs already: that of a run of this machine is rendered as in training."""

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
from alttrain_cli.storage.run import EXPORTED_RECIPE
from alttrain_cli.structure.probing import PROBE
from alttrain_cli.structure.template import Template

_SHOWN = 100  # characters of a system prompt


def as_trained(backend: ServerBackend, warn: Tell) -> ServerBackend:
    """Return a backend that renders prompts as in training, if the run of the model is on this machine.

    Else, for an adapter, `warn` gets a line if the server's chat template adds a system prompt: the run may
    have another one.
    """
    first = backend.endpoints[0]
    if not first.dialect.renders:
        return backend
    if (known := _run_of(first)) is not None:
        target, template = known
        found = backend.fingerprint
        fingerprint = Fingerprint(
            found.name, found.model, f"{WEIGHTS}, prompts {template.fingerprint[:16]}", server=found.server
        )
        return RenderedServer(backend.endpoints, target, template, fingerprint, backend.in_flight)
    if first.listed.base is not None and (text := _system_text(first)):
        warn(
            f"{first.model}: the server's chat template adds the system prompt {text!r}. If the run was "
            "trained with another one, its prompts differ here. On the run's own machine use --engine vllm."
        )
    return backend


def _run_of(endpoint: Endpoint) -> tuple[Target, Template] | None:
    """Return what a server of this machine has loaded, with its template.

    That is the adapter or the weights of a run, or an export of it. None if it is something else.
    """
    from alttrain_cli.engine.load import fully_trained, load_template

    folder = Path(endpoint.listed.folder or "")
    if not (folder.is_absolute() and is_here(endpoint.base_url)):
        return None
    is_of_run, is_export = is_file(folder.parent / "recipe.yaml"), is_file(folder / EXPORTED_RECIPE)
    if not (is_of_run or is_export):
        return None
    try:
        target = find_target(str(folder.parent if is_of_run else folder))
        if is_of_run and target.adapter != folder:
            return None
        is_whole = target.adapter is not None and target.recipe.model.full_finetuning
        return target, load_template(fully_trained(target.recipe, folder) if is_whole else target.recipe)
    except AlttrainError:  # its base model is only where the server has it
        return None


def _system_text(endpoint: Endpoint) -> str:
    """Return the text of the chat template before the first user's message, without its markers."""
    rendered = ServerTokenizer(endpoint).rendered(Conversation.of(PROBE)) or ""
    text = re.sub(r"<[^<>]*>|\[/?\w+\]|^\s*(system|user)\s*$", "", rendered.partition(PROBE)[0], flags=re.M)
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN else words[:_SHOWN] + " ..."
