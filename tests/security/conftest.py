"""A whole appliance in this process, and somebody who is logged in there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import appliance
from appliance.boot import Running
from appliance.config import Config
from appliance.kernel.trace import Sink
from tests.person import Person


@dataclass(kw_only=True)
class Visitor(Person):
    """A person who also sees the appliance from the inside."""

    running: Running


@asynccontextmanager
async def a_person(
    config: Config | None = None, *, sinks: Sequence[Sink] = (), password: str = "admin"
) -> AsyncIterator[Visitor]:
    """Somebody who is logged in at an appliance that runs while the block does."""
    async with appliance.running(config, sinks=sinks) as running:
        person = Visitor(running.endpoints.api, running.kit.http, running=running)
        await person.login(password)
        yield person
