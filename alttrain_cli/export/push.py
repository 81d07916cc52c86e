"""Uploads an export to the hub."""

import shlex
from pathlib import Path

from alttrain_cli.errors import AlttrainError, first_line
from alttrain_cli.network import is_offline
from alttrain_cli.progress import Progress
from alttrain_cli.runs.model_card import NAME as CARD
from alttrain_cli.storage.names import is_hub_id

# The card is checked by the hub before a file is uploaded. The error is a plain ValueError.
_CARD_REFUSED = "Invalid metadata in README.md"


def check_repository(repo: str) -> None:
    """Make sure that a name is that of a repository."""
    if not is_hub_id(repo):
        raise AlttrainError(f"--push {repo}: not a repository. Give OWNER/NAME, for example me/my-model.")


def has_token() -> bool:
    """Whether this machine has a token of the hub. Nobody has asked the hub whether it is valid."""
    from huggingface_hub import get_token

    return get_token() is not None


def check_push() -> None:
    """Find out before anything is done whether the hub would take an upload."""
    from huggingface_hub import HfApi

    if is_offline():
        raise AlttrainError("--push needs the hub, but --offline or HF_HUB_OFFLINE is set. Leave that out.")
    if not has_token():
        raise AlttrainError("--push needs a token of the hub. Run: hf auth login, or set HF_TOKEN.")
    try:
        HfApi().whoami()
    except Exception as error:  # of the HTTP client too, whatever it is
        refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        reason = "the hub refuses the token" if refused else "the hub cannot be reached"
        raise AlttrainError(f"--push: {reason}. Run: hf auth login, or export without --push.") from None


def push(folder: Path, repo: str, progress: Progress) -> str:
    """Upload a folder and return the address; a repository that does not exist is created private."""
    from huggingface_hub import HfApi

    api, again = HfApi(), shlex.join(["hf", "upload", repo, str(folder)])
    try:
        with progress.status("Uploading ..."):
            api.create_repo(repo, private=True, exist_ok=True)
            info = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Export of alttrain")
    except KeyboardInterrupt:
        progress.warn(
            f"interrupted. {folder} is complete, but {repo} may lack some or all of its files. "
            f"To upload what is missing: {again}"
        )
        raise
    except Exception as error:
        if str(error).startswith(_CARD_REFUSED):
            raise AlttrainError(
                f"{folder} is complete, but the hub refuses its card: {_in_one_sentence(error)} "
                f"Correct the first lines of {folder / CARD}, then run: {again}"
            ) from None
        raise AlttrainError(
            f"{folder} is complete, but the upload failed: {first_line(error)} Try again: {again}"
        ) from None
    return str(info.repo_url)


def _in_one_sentence(error: Exception) -> str:
    """Return a heading and the list below it as one sentence."""
    heading, *reasons = [line.strip("-. ") for line in str(error).splitlines() if line.strip("-. ")]
    return f"{heading}: {'; '.join(reasons)}." if reasons else f"{heading}."
