"""The models that a server has: a backend under its name, and its base."""

from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.recipe.model import Sampling

BASE = "base"


def served_models(backend: Backend) -> dict[str, Backend]:
    """Return the models by the names that clients use, the fine-tuned one first."""
    if backend.base is None:
        return {backend.name: backend}
    base = BASE if backend.name != BASE else f"{BASE}-model"
    return {backend.name: backend, base: backend.base}


def warm_up(backend: Backend) -> None:
    """Write one token. The first one takes longer, and shows whether the model works."""
    for _ in backend.stream(Conversation.of("Hi."), Sampling(max_new_tokens=1, do_sample=False)):
        pass
