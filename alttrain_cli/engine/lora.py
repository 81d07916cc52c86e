"""Which modules of a model get a LoRA adapter."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from alttrain_cli.errors import ModelError

_LAYER = re.compile(r"^(?P<stack>.*?layers)\.(?P<layer>\d+)\.(?P<rest>.+)$")


def check_targets(model: Any, name: str, targets: Sequence[str]) -> list[str]:
    """Compare a recipe's target modules with a model; return a line for each that some layers lack.

    Raises:
        ModelError: if one is in no layer at all. Phi-3 has one qkv_proj where others have three modules.
    """
    import torch

    modules = [path for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    unmatched = [target for target in targets if not any(_matches(path, target) for path in modules)]
    if unmatched:
        raise ModelError(
            f"{name}: lora.target_modules matches nothing with {', '.join(unmatched)}. "
            f"Choose among the model's own: --set lora.target_modules=[{','.join(_in_layers(modules))}]"
        )
    return [line for target in targets if (line := _missing(modules, target))]


def _matches(path: str, target: str) -> bool:
    """Whether PEFT puts an adapter on a module."""
    return path == target or path.endswith(f".{target}")


def _in_layers(modules: Iterable[str]) -> list[str]:
    found = (_LAYER.match(path) for path in modules)
    return list(dict.fromkeys(match["rest"].rpartition(".")[2] for match in found if match))


def _missing(modules: Sequence[str], target: str) -> str:
    """Say which layers lack a target, or nothing; a target that names one layer means that layer."""
    if re.search(r"\d", target):
        return ""
    found = [match for path in modules if (match := _LAYER.match(path))]
    with_target = {(match["stack"], match["layer"]) for match in found if _matches(match.string, target)}
    stacks = {stack for stack, _ in with_target}
    lacking = {(match["stack"], match["layer"]) for match in found if match["stack"] in stacks} - with_target
    if not lacking:
        return ""
    layers = len(lacking) + len(with_target)
    return f"{len(lacking)} of {layers} layers have no {target}: the adapter does not change them there"
