"""What compose.yaml promises, as far as it can be seen without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from router.settings import Settings
from tests.compose import COMPOSE, PROXY, REPLICAS, SERVICES

DOCKERFILE = (Path(__file__).parents[1] / "Dockerfile").read_text(encoding="utf-8")


def mounted(service: dict[str, Any]) -> dict[str, str]:
    """The name of the volume on each path."""
    return {path: name for name, path in (volume.split(":") for volume in service["volumes"])}


def test_two_replicas_and_the_proxy_knows_both() -> None:
    assert len(REPLICAS) == 2
    servers = re.findall(r"^ *server (\S+) (\S+):(\d+) cookie (\S+)$", PROXY, re.M)
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)
    assert servers == [(name, name, port, name) for name in REPLICAS]


def test_only_the_proxy_is_reachable_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": ["127.0.0.1:8000:8000"]}
    assert not [name for name, service in SERVICES.items() if service.get("network_mode") == "host"]


def test_replicas_differ_in_nothing_but_their_name_and_their_files() -> None:
    own = {"hostname", "volumes"}
    first, second = ({key: one[key] for key in one.keys() - own} for one in REPLICAS.values())
    assert first == second
    assert [one["hostname"] for one in REPLICAS.values()] == list(REPLICAS)


@pytest.mark.parametrize("service", REPLICAS.values(), ids=REPLICAS.keys())
def test_everything_that_is_set_is_a_setting(service: dict[str, Any]) -> None:
    environment = dict(service["environment"])
    del environment["PGPASSWORD"]  # libpq's own
    for name, value in environment.items():
        assert Settings.from_env({name: value}) != Settings(), name


def test_files_outlive_their_container_and_only_the_templates_are_shared() -> None:
    kept = []
    for service in REPLICAS.values():
        settings = Settings.from_env(service["environment"])
        volumes = mounted(service)
        kept.append((volumes[str(settings.log_dir)], volumes[str(settings.templates_file.parent)]))
    (first_log, first_templates), (second_log, second_templates) = kept
    assert first_log != second_log
    assert first_templates == second_templates
    # From release 18 on the image keeps its data below this folder.
    (database,) = [name for path, name in mounted(SERVICES["postgres"]).items() if path == "/var/lib/postgresql"]
    assert {first_log, second_log, first_templates, database} == COMPOSE["volumes"].keys()


def test_there_is_no_password_in_the_file_and_none_to_fall_back_on() -> None:
    given = [service["environment"].get("PGPASSWORD") for service in REPLICAS.values()]
    given.append(SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"])
    assert all(re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", value) for value in given)
    user = SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    urls = {service["environment"]["DATABASE_URL"] for service in REPLICAS.values()}
    assert urls == {f"postgresql+psycopg://{user}@postgres/{user}"}


def test_the_proxy_waits_for_the_slowest_answer() -> None:
    (seconds,) = re.findall(r"^ *timeout server (\d+)s$", PROXY, re.M)
    assert float(seconds) > Settings().timeouts.total
