"""The certificates that servers are checked with, read once per process: it takes longer than a request."""

import os
from functools import lru_cache
from typing import Any

_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def certificates(*, of_environment: bool) -> Any:
    """Return an SSL context, which clients may share. `of_environment`: what the environment names counts."""
    return _read(of_environment, *map(os.environ.get, _NAMES))


@lru_cache(maxsize=4)
def _read(of_environment: bool, *_: str | None) -> Any:
    from httpx import create_ssl_context

    return create_ssl_context(trust_env=of_environment)
