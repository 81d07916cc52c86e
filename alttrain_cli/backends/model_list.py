"""The models that a server lists: the name of each, its context, and the base of an adapter."""

from typing import Any, NamedTuple

from alttrain_cli.backends.dialect import DIALECTS, Dialect
from alttrain_cli.backends.reply import LONGEST_NAME, ProtocolError, token_count


class ListedModel(NamedTuple):
    """One model of a server.

    Attributes:
        context: tokens of prompt and completion together; None if the server does not report it.
        base: the model that this adapter was trained on, by its name on the server.
        folder: where the server loaded it from, in the server's own words.
        scored: its verdicts have a score, and a request may have a threshold of its own.
        threshold: the one that the server's owner has set for all other requests.
    """

    name: str
    context: int | None = None
    base: str | None = None
    folder: str | None = None
    dialect: Dialect = Dialect()
    scored: bool = False
    threshold: float | None = None


UNLISTED = ListedModel("")


def read_models(listed: object) -> dict[str, ListedModel]:
    """Return a server's models by name.

    vLLM reports no context for a LoRA adapter, so it is then that of the adapter's base.

    Raises:
        ProtocolError: if it is no list, or a name is none.
    """
    if not isinstance(listed, list):
        raise ProtocolError("it sent no list of models")
    cards: dict[str, dict[str, Any]] = {}
    for card in listed:
        name = card.get("id") if isinstance(card, dict) else None
        if not (isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= LONGEST_NAME):
            raise ProtocolError("its list of models contains values that are not names")
        cards[name] = card
    return {name: _listed(name, card, cards) for name, card in cards.items()}


def only_model(models: dict[str, ListedModel]) -> ListedModel | None:
    """Return the model that is meant where none is named: the only one, or the only adapter."""
    adapters = [one for one in models.values() if one.base]
    found = adapters or list(models.values())
    return found[0] if len(found) == 1 else None


def _listed(name: str, card: dict[str, Any], cards: dict[str, dict[str, Any]]) -> ListedModel:
    base, folder = card.get("parent"), card.get("root")
    known = base if isinstance(base, str) and base in cards and base != name else None
    dialect, threshold = DIALECTS.get(str(card.get("owned_by")), Dialect()), card.get("threshold")
    return ListedModel(
        name,
        _context(card) or (_context(cards[known]) if known else None),
        known,
        folder if isinstance(folder, str) else None,
        dialect,
        dialect.scores and "threshold" in card,
        float(threshold) if isinstance(threshold, int | float) and dialect.scores else None,
    )


def _context(card: dict[str, Any]) -> int | None:
    return token_count(card.get("max_model_len")) or None
