"""compose.yaml, as the tests read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REPLICAS = {name: service for name, service in SERVICES.items() if "build" in service}
PROXY: str = COMPOSE["configs"]["haproxy"]["content"]


def proxy_on_this_machine(port: int, replicas: Mapping[str, int]) -> str:
    """The proxy's configuration with other addresses: its own port, and the port of each replica by name."""
    moved = {"bind :8000": f"bind 127.0.0.1:{port}"}
    moved |= {f"{name}:8000": f"127.0.0.1:{at}" for name, at in replicas.items()}
    configuration = PROXY
    for address, instead in moved.items():
        assert address in configuration, address
        configuration = configuration.replace(address, instead)
    return configuration
