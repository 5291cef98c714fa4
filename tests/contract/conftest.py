"""Real servers that contract tests run against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nats_server import NatsServer, running_server


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that runs, and may be killed and started by the test."""
    yield from running_server(tmp_path)


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that all tests of a module share."""
    for server in running_server(tmp_path_factory.mktemp("nats")):
        yield server.url
