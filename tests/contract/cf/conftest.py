"""One installation for all tests of this folder; to each test an organization of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from .cli import Cf, Wire, grant
from .installation import Installation, running
from .reads import Organization, Space

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The controller, its stager, DEA and log store."""
    with running(tmp_path_factory.mktemp("delivered")) as made:
        yield made


@pytest.fixture(scope="session")
def admin(installation: Installation) -> Iterator[Cf]:
    """Somebody who is logged in, and has no target."""
    wire = Wire(installation.url)
    cf = Cf(wire)
    answer = grant(cf, grant_type="password", username="admin", password="admin")
    yield replace(cf, token=answer.json["access_token"])
    wire.connection.close()


@pytest.fixture
def anonymous(admin: Cf) -> Cf:
    """Nobody who is known."""
    return replace(admin, token="")


@pytest.fixture
def cf(admin: Cf, installation: Installation) -> Cf:
    """The same, with an organization and a space that nothing is in; the DEA does well."""
    installation.dea.fate, installation.stager.error = "RUNNING", None
    name = f"t{next(_NUMBERS)}"
    org = admin.post("/v3/organizations", {"name": name, "suspended": False}, Organization)
    relations = {"organization": {"data": {"guid": org.guid}}}
    space = admin.post("/v3/spaces", {"name": "s", "relationships": relations}, Space)
    return replace(admin, org=org.guid, space=space.guid, name=name)
