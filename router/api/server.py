"""What happens when the server starts and ends."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module

from router import tokens
from router.errors import RouterError
from router.router import close_shared_router, shared_router


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """Ready the socket, and in the background what the first request and the first page would wait for."""
    # Streamlit's socket is made with proto=0, so asyncio leaves Nagle on: 44 ms per call.
    for candidate in gc.get_objects():
        if isinstance(candidate, socket.socket) and candidate.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_warm, name="router-warm", daemon=True).start()
    yield
    close_shared_router()


def _warm() -> None:
    tokens.warm()
    with suppress(RouterError):  # a broken setting is reported where it is used
        shared_router().health()  # opens the log
    for charting in ("altair", "pandas"):
        import_module(charting)
