"""The routes of the server, as a Starlette application."""

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alttrain_cli.recipe.model import Sampling
from alttrain_cli.serve.answer import Answer
from alttrain_cli.serve.api_error import ApiError, bug_error
from alttrain_cli.serve.chat_request import read_chat_request
from alttrain_cli.serve.dispatcher import Dispatcher
from alttrain_cli.serve.upload import read_body

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

OWNER = "alttrain"
# What browsers send as Host to a server on this machine, also from Docker. Another name is a web page's
# that was made to point here.
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]", "host.docker.internal")


@dataclass(frozen=True)
class Service:
    """What the routes need; it is the route of completions itself."""

    dispatcher: Dispatcher
    defaults: Sampling
    created: int  # seconds since 1970
    key: str | None  # what clients must send
    hosts: tuple[str, ...]  # the names under which the server may be addressed; none: any

    def check(self, http: "Request") -> None:
        """Make sure that a request may be answered.

        Raises:
            ApiError: for a wrong key, and for a host that this server does not have.
        """
        host = http.headers.get("host", "").rpartition("@")[2]
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts and name.lower() not in self.hosts:
            raise ApiError(421, "This server does not answer requests for that host name.", code="wrong_host")
        if self.key is None:
            return
        scheme, _, given = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.key.encode()):
            raise ApiError(
                401, "The key is missing or wrong: Authorization: Bearer KEY.", code="invalid_api_key"
            )

    def defaults_of(self, model: str | None) -> Sampling:
        """Return the settings where a request to a model gives none: a base model has no threshold.

        Raises:
            ApiError: if there is no such model.
        """
        has_none = self.defaults.threshold is not None and self.dispatcher.backend(model).unscored
        return self.defaults.without_threshold() if has_none else self.defaults

    def models(self) -> list[dict[str, Any]]:
        """Return the cards of the models, the fine-tuned one first.

        A model whose verdicts have a score has the key `threshold`, with the one that requests get that
        have none of their own.
        """
        names = list(self.dispatcher.models)
        return [
            {
                "id": name,
                "object": "model",
                "created": self.created,
                "owned_by": OWNER,
                "max_model_len": backend.context,
                "parent": names[1] if backend.base is not None and len(names) > 1 else None,
                **({} if backend.unscored else {"threshold": self.defaults.threshold}),
            }
            for name, backend in self.dispatcher.models.items()
        ]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request for a completion."""
        from starlette.requests import ClientDisconnect, Request

        try:
            http = Request(scope, receive)
            self.check(http)
            data = await read_body(http, self.dispatcher.limits)
            request = read_chat_request(data, self.defaults_of)
            await Answer(self.dispatcher, request).send(receive, send)
        except ApiError:
            self.dispatcher.activity.refused += 1
            raise
        except ClientDisconnect:  # before all of its request had arrived
            self.dispatcher.activity.left += 1
        except Exception as bug:
            self.dispatcher.activity.refused += 1
            self.dispatcher.report(bug)
            raise bug_error() from None


def make_app(service: Service) -> "Starlette":
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    async def health(http: "Request") -> "Response":
        return _json({"status": "ok"})

    async def models(http: "Request") -> "Response":
        service.check(http)
        return _json({"object": "list", "data": service.models()})

    async def model(http: "Request") -> "Response":
        service.check(http)
        name = http.path_params["name"]
        service.dispatcher.backend(name)
        return _json(next(card for card in service.models() if card["id"] == name))

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            Route("/v1/chat/completions", service, methods=["POST"]),
        ],
        exception_handlers={ApiError: _refused, HTTPException: _no_route},
    )


def _refused(http: "Request", error: Exception) -> "Response":
    assert isinstance(error, ApiError)
    return _json(error.body(), error.status, error.headers())


def _no_route(http: "Request", error: Exception) -> "Response":
    status = getattr(error, "status_code", 404)
    text = f"There is no {http.method} {http.url.path} here. There is POST /v1/chat/completions."
    return _json(ApiError(status, text).body(), status, dict(getattr(error, "headers", None) or {}))


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse(body, status, headers)
