"""Errors of a request, in the form of OpenAI's API."""

from typing import Any

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is refused or fails.

    Attributes:
        status: of HTTP.
        code: a word for programs, for example context_length_exceeded.
        param: the field that is wrong.
        wait: seconds after which another try may help.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, wait: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.wait = status, code, param, wait

    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.wait)} if self.wait else {}


def bug_error() -> ApiError:
    """Return the response to an error that is not the client's."""
    return ApiError(500, "The server failed. The terminal in which it runs shows why.", code="internal_error")
