"""Examines the way to the hub, and the caches on this machine."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

from alttrain_cli.doctor.finding import Finding, note, ok
from alttrain_cli.network import is_offline
from alttrain_cli.storage.reading import is_folder
from alttrain_cli.storage.sizes import size_of
from alttrain_cli.storage.user_folders import CACHE

SECONDS = 0.6  # for the hub to answer; looking up its name may take longer than any time limit of sockets


def ask_hub() -> Callable[[], Finding]:
    """Start to contact the hub; the result waits for the answer. Offline, nothing is contacted."""
    if is_offline():
        return lambda: note("hub", "not contacted: offline", "Models and data must be in the cache.")
    answers: list[Finding] = []
    thread = threading.Thread(target=lambda: answers.append(_contact()), daemon=True)
    thread.start()

    def wait() -> Finding:
        thread.join(SECONDS)
        return answers[0] if answers else _unreachable(f"no answer within {SECONDS:g} s")

    return wait


def examine_caches() -> Iterator[Finding]:
    """Yield where models and converted files are kept, and their size."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for name, path in (("hub cache", Path(HF_HUB_CACHE)), ("cache", CACHE)):
        if not is_folder(path):
            yield ok(name, f"empty: {path}")
            continue
        models = f"{len(list(path.glob('models--*')))} models, " if path == Path(HF_HUB_CACHE) else ""
        yield ok(name, f"{models}{size_of(path) / 1e9:.1f} GB in {path}")


def _contact() -> Finding:
    from huggingface_hub.constants import ENDPOINT

    try:
        request = urllib.request.Request(ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=SECONDS):
            return ok("hub", f"{ENDPOINT} can be reached")
    except urllib.error.HTTPError as error:  # it answered
        return ok("hub", f"{ENDPOINT} can be reached (status {error.code})")
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return _unreachable(getattr(reason, "strerror", None) or str(reason))


def _unreachable(reason: str) -> Finding:
    return note(
        "hub",
        f"cannot be reached: {reason[:100]}",
        "Models must be in the cache, a folder or a package. Behind a proxy, set HTTPS_PROXY.",
    )
