"""Reads the body of a request, within bounds of size and time."""

import asyncio
from typing import TYPE_CHECKING

from alttrain_cli.serve.api_error import ApiError
from alttrain_cli.serve.limits import ServeLimits

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(http: "Request", limits: ServeLimits) -> bytes:
    """Return the body of a request for JSON.

    Raises:
        ApiError: if it is none, too long, or takes too long.
    """
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a web page cannot send this type here without a permission that it lacks
        raise ApiError(415, "Send JSON, with the header Content-Type: application/json.")
    told = http.headers.get("content-length", "")
    if told.isdigit() and int(told) > limits.body and "expect" in http.headers:
        raise _too_long(limits)  # this client waits for a sign before it sends the body
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(limits.upload):
            async for part in http.stream():
                size += len(part)
                if size > limits.drained:
                    break
                if size <= limits.body:
                    body += part
                else:
                    body.clear()
    except TimeoutError:
        raise ApiError(408, f"The request did not arrive within {limits.upload:g} s.") from None
    # A client that is still sending would not see an earlier answer, so that all of it is read first.
    if size > limits.body:
        raise _too_long(limits)
    return bytes(body)


def _too_long(limits: ServeLimits) -> ApiError:
    return ApiError(413, f"The request is longer than {limits.body:,} bytes.", code="request_too_large")
