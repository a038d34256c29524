from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.server import FaultServer
from tests.providers.upstream import OVER_HTTP, POOL, Upstream


@pytest.fixture(scope="session", autouse=True)
def pool() -> Iterator[None]:
    yield
    POOL.close()


@pytest.fixture(params=OVER_HTTP)
def upstream(request: pytest.FixtureRequest, faults: FaultServer) -> Upstream:
    """Each provider that speaks HTTP, one after the other."""
    return Upstream(request.param, faults)


@pytest.fixture
def groq(faults: FaultServer) -> Upstream:
    return Upstream("groq", faults)
