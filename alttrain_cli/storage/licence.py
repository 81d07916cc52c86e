"""The licence of a base model, as a model card states it."""

from typing import NamedTuple


class Licence(NamedTuple):
    """A licence in the hub's terms. One that is not on the hub's list is `other`, and may have a name."""

    identifier: str
    name: str | None = None
    link: str | None = None

    def __str__(self) -> str:
        """Return what a reader knows it by."""
        return self.name or self.identifier

    def metadata(self) -> dict[str, str]:
        """Return the keys of a card: the hub refuses a `license` that is not on its list."""
        keys = {"license": self.identifier, "license_name": self.name, "license_link": self.link}
        return {key: value for key, value in keys.items() if value}
