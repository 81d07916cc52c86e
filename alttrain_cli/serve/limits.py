"""How much a server takes."""

from dataclasses import dataclass

USUAL_PORT, LAST_PORT = 8000, 65_535


@dataclass(frozen=True)
class ServeLimits:
    """Bounds of one server. Times are seconds."""

    in_flight: int = 64  # completions that are generated at the same time
    waiting: int = 512  # requests that wait for a slot
    body: int = 8 << 20  # bytes of a request
    drained: int = 512 << 20  # bytes of a request that is too long, read so that its client gets the answer
    upload: float = 30.0  # for the body of a request
    grace: float = 3.0  # for what is in flight when the server is stopped
