"""Names that become files and folders: what one may be, and one for any text."""

import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator

from alttrain_cli.text import quoted

LONGEST = 100  # bytes: with a number, a date or an ending it stays below the 255 of file systems
_NAME = re.compile(r"\w([\w .+-]*[\w+-])?")
_WANTED = (
    "must be a name for a folder: at most 100 bytes of letters, digits, spaces and . _ - +, "
    "with a letter or digit at both ends"
)
_HUB_ID = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}\w)?/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows, in any folder


def is_name(text: str) -> bool:
    """Whether a text can be the name of a file or folder as it is, on every system."""
    return bool(_NAME.fullmatch(text)) and len(text.encode()) <= LONGEST and not _DEVICE.fullmatch(text)


def is_hub_id(text: str) -> bool:
    """Whether a text can be OWNER/NAME on the model hub."""
    is_allowed = not text.endswith(".git") and not any(pair in text for pair in ("..", "--"))
    return bool(_HUB_ID.fullmatch(text)) and is_allowed


def _checked(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{_WANTED}, not {quoted(text)}")
    return text


FolderName = Annotated[str, AfterValidator(_checked)]


def safe_name(text: str, gap: str = "-") -> str:
    """Return a name of one file or folder for any text; `gap` replaces what a name cannot hold."""
    name = re.sub(r"[^\w.-]+", gap, text).strip("-.") or "unnamed"
    if _DEVICE.fullmatch(name):
        name = f"_{name}"
    return name if len(name.encode()) <= LONGEST else with_digest(name, text)


def model_file_name(model: str) -> str:
    """Return a name of a file for a model, another one for each: owner/model is owner--model, a:b is a+b.

    A name from which the model cannot be read back gets a hash. So a model that is itself called
    owner--model has a file of its own.
    """
    name = "+".join(safe_name(part, "--") for part in model.split(":"))
    can_be_read = model == name.replace("--", "/").replace("+", ":") and len(name.encode()) <= LONGEST
    return name if can_be_read else with_digest(safe_name(model, "--"), model)


def earlier_model_file_name(model: str) -> str:
    """Return the name that a model's files have had up to version 0.1, when a/b and a:b had the same."""
    name = safe_name(model, "--")
    can_be_read = model in (name.replace("--", "/"), name.replace("--", ":"))
    return name if can_be_read else with_digest(name, model)


def served_file_name(model: str, server: str) -> str:
    """Return a name of a file for a model on a server."""
    name = f"{model_file_name(model)}--{safe_name(server, '--')}"
    return name if len(name.encode()) <= LONGEST else safe_name(f"{model_file_name(model)}@{server}", "--")


def with_digest(name: str, text: str) -> str:
    """Return a name that belongs to a text alone."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name.encode()[: LONGEST - 9].decode('utf-8', 'ignore')}-{digest}"


def suite_name(name: str, mode: str, *, replayed: bool) -> str:
    """Return the name of an evaluation and its folder: an ablation or a replay has another name."""
    if replayed:
        return f"{name}+replayed"
    return name if mode == "normal" else f"{name}+{mode}think"
