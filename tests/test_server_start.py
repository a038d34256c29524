from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from router import Router, close_shared_router, shared_router
from router.api import lifespan


def test_listening_sockets_send_at_once() -> None:
    """Streamlit's is made in a way that leaves Nagle's algorithm on, which costs 44 ms a call."""

    async def start_and_end(listening: socket.socket) -> int:
        async with lifespan(None):
            return listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with ThreadPoolExecutor(1) as pool:  # the browser tests leave an event loop running in this thread
            assert pool.submit(asyncio.run, start_and_end(listening)).result() != 0


def test_everybody_who_asks_at_once_shares_one_router() -> None:
    with ThreadPoolExecutor(8) as pool:
        routers: set[Router] = set(pool.map(lambda _: shared_router(), range(8)))
    close_shared_router()
    assert len(routers) == 1
