from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.server import FaultServer
from tests.providers.upstream import OVER_HTTP, Upstream, asking


@pytest.fixture(params=OVER_HTTP)
def upstream(request: pytest.FixtureRequest, faults: FaultServer) -> Iterator[Upstream]:
    """Each provider that speaks HTTP, one after the other."""
    with asking(request.param, faults) as upstream:
        yield upstream


@pytest.fixture
def groq(faults: FaultServer) -> Iterator[Upstream]:
    with asking("groq", faults) as upstream:
        yield upstream
