"""Ollama's Modelfile: the template that was trained, in Ollama's own language, and the recipe's settings."""

import re

from alttrain_cli.errors import ModelError
from alttrain_cli.export.format import TrainedModel
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.structure.turns import Turns

MODELFILE = "Modelfile"
CONVERSATION_TOKENS = 4096  # beside those that are written
# Ollama takes its own defaults, such as a top_k of 40, for what is not stated. These switch a setting off.
_OFF: dict[str, float] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
_NAMES = {"repetition_penalty": "repeat_penalty"}


def modelfile(trained: TrainedModel, weights: str) -> str:
    """Return the Modelfile for a GGUF file in the same folder."""
    loaded, sampling = trained.loaded, trained.recipe.generation
    turns, markers = Turns.of(loaded.template), loaded.template.markers
    text = _template(turns, markers.open, markers.close)
    stops = dict.fromkeys(filter(None, [loaded.template.terminator, loaded.tokenizer.eos_token]))
    room = CONVERSATION_TOKENS + sampling.max_new_tokens
    parameters = {**_settings(sampling), "num_ctx": min(room, loaded.context or room)}
    lines = [
        f"# Create the model: ollama create {ollama_name(weights.rpartition('-')[0])} -f {MODELFILE}",
        f"FROM ./{weights}",
        f'TEMPLATE """{_quotable(text)}"""',
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        *(f"PARAMETER {name} {value:.15g}" for name, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"


def ollama_name(name: str) -> str:
    """Return a name that Ollama takes for a model: small ASCII letters, digits and . _ -"""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "model"


def _settings(sampling: Sampling) -> dict[str, float]:
    given = sampling.record()
    found: dict[str, float] = {"num_predict": sampling.max_new_tokens}
    for name, off in _OFF.items():
        found[_NAMES.get(name, name)] = given.get(name, off)
    if not sampling.do_sample:
        found["temperature"] = 0.0
    return found


def _template(turns: Turns, think: str, answer: str) -> str:
    """Return the template; Ollama finds in it how the model marks its reasoning, and shows it separately."""
    start = _literal(turns.start)
    if turns.system:
        before, after = map(_literal, turns.system)
        start = f"{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{start}{{{{ end }}}}"
    user, answered = (tuple(map(_literal, pair)) for pair in (turns.user, turns.assistant))
    thinking = f"{_literal(think)}{{{{ .Thinking }}}}{_literal(answer)}"
    return (
        f"{start}{{{{ range $i, $_ := .Messages }}}}{{{{ $last := eq (len (slice $.Messages $i)) 1 }}}}"
        f'{{{{ if eq .Role "user" }}}}{user[0]}{{{{ .Content }}}}{user[1]}'
        f"{{{{ if $last }}}}{_literal(turns.generation)}{{{{ end }}}}"
        f'{{{{ else if eq .Role "assistant" }}}}{answered[0]}'
        f"{{{{ if and $last .Thinking }}}}{thinking}{{{{ end }}}}"
        f"{{{{ .Content }}}}{{{{ if not $last }}}}{answered[1]}{{{{ end }}}}{{{{ end }}}}{{{{ end }}}}"
    )


def _literal(text: str) -> str:
    """Return text of a template in which {{ is no action."""
    return text.replace("{{", '{{ "{{" }}')


def _quotable(text: str) -> str:
    """Make sure that a Modelfile can hold a text: Ollama drops characters that cannot be printed."""
    if '"""' in text or any(not one.isprintable() and one not in "\n\t" for one in text):
        raise ModelError(
            "the chat template, or the recipe's system prompt in it, has characters that a Modelfile cannot "
            "hold. Export it: --format gguf"
        )
    return text
