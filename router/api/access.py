"""Who may call, and what a web page of another site or a stranger must not pass.

Without API_TOKEN the routes answer to this machine only; with it, to whoever sends `Authorization: Bearer <token>`.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from router.api.messages import Refused, error_json, router_error
from router.errors import RouterError
from router.router import shared_router

LINK_SECONDS = 3600
"""How long a download link of the Analytics page works."""

Handler = Callable[[Request], Awaitable[Response]]
_link_secret = secrets.token_bytes(32)


def guarded(handler: Handler) -> Handler:
    """The route behind every check that a web page of another site or a stranger must not pass."""

    async def answered(request: Request) -> Response:
        try:
            _check_caller(request)
            return await handler(request)
        except Refused as refused:
            return error_json(refused.status, refused.kind, str(refused))
        except RouterError as error:
            return router_error(error)

    return answered


def _check_caller(request: Request) -> None:
    token = shared_router().settings.api_token
    if _has_valid_signature(request):
        return
    if token is None:
        client = request.client.host if request.client else ""
        if not _is_loopback(client) or not _is_loopback(_hostname(request)):
            raise Refused(
                401, "unauthorized", "Only this machine may call without a token. Set API_TOKEN to allow others."
            )
    else:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode(), token.reveal().encode()):
            raise Refused(401, "unauthorized", "Send the value of API_TOKEN as Authorization: Bearer <token>.")
    origin = request.headers.get("origin")
    if origin and origin.partition("://")[2] != request.headers.get("host"):
        raise Refused(403, "forbidden", "This request comes from a page of another site.")


def _hostname(request: Request) -> str:
    """The name in the Host header. Not `request.url`: that puts the server's own address in the place of a bad one."""
    host = request.headers.get("host", "").lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def signed_link(path: str, parameters: Mapping[str, str]) -> str:
    """A link to a download that a browser may follow without a token, for LINK_SECONDS."""
    query = urlencode({**parameters, "expires": str(int(time.time()) + LINK_SECONDS)})
    return f"{path}?{query}&signature={_signature(path, query)}"


def _signature(path: str, query: str) -> str:
    return hmac.new(_link_secret, f"{path}?{query}".encode(), sha256).hexdigest()


def _has_valid_signature(request: Request) -> bool:
    query, separator, signature = request.url.query.rpartition("&signature=")
    if request.method != "GET" or not separator:
        return False
    if not hmac.compare_digest(signature.encode(), _signature(request.url.path, query).encode()):
        return False
    return float(request.query_params["expires"]) > time.time()
