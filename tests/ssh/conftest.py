"""An ssh room, a DEA in which an app runs, and a controller that knows a few codes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import pytest
import trio

from appliance.config import SshConfig
from appliance.ssh.messages import SshAdvertise, SshLocate
from appliance.ssh.service import serve
from fake_controller.messages import SshAuthorize, SshAuthorized
from tests.dea.conftest import CONFIG, WEB, World, a_world, app

T = TypeVar("T")

USER = "cf:d1/0"


@dataclass
class Site:
    """All of it, and how to come in."""

    world: World
    port: int
    about: SshAdvertise
    asked: list[SshAuthorize] = field(default_factory=list)
    answer: SshAuthorized = field(
        default_factory=lambda: SshAuthorized(droplet="d1", index=0, app_id="app-1", username="me")
    )
    stop: Callable[[], None] = lambda: None  # of the ssh room
    _codes: set[str] = field(default_factory=set)

    def code(self) -> str:
        """A new one-time code."""
        code = f"code{len(self._codes) + len(self.asked)}"
        self._codes.add(code)
        return code

    async def controller(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Answer the ssh room as the controller would."""
        kit = self.world.kit
        async with kit.subscribe(SshAuthorize) as questions:
            task_status.started()
            async for question in questions:
                self.asked.append(question.body)
                known = question.body.code in self._codes
                self._codes.discard(question.body.code)
                wrong = SshAuthorized(refusal="The one-time code is not valid.")
                kit.respond(question, self.answer if known else wrong)

    async def client(
        self,
        act: Callable[[asyncssh.SSHClientConnection], Awaitable[T]],
        *,
        user: str = USER,
        code: str | None = None,
    ) -> T:
        """Log in and *act*, in a thread with a loop of its own."""

        async def visit() -> T:
            async with asyncssh.connect(
                "127.0.0.1",
                self.port,
                username=user,
                password=self.code() if code is None else code,
                known_hosts=None,
                client_keys=None,
                config=None,
                agent_path=None,
            ) as connection:
                return await act(connection)

        with trio.fail_after(30):
            return await trio.to_thread.run_sync(asyncio.run, visit())

    async def run(self, command: str | None, **more: Any) -> asyncssh.SSHCompletedProcess:
        """Run *command* in a connection of its own."""
        return await self.client(lambda connection: connection.run(command, **more))

    def happened(self, what: str) -> int:
        """How often the trace has the event *what*."""
        return sum(event.what == what for event in self.world.events)

    async def until(self, what: str, count: int = 1) -> None:
        """Wait until the event *what* has happened *count* times."""
        with trio.fail_after(20):
            while self.happened(what) < count:  # noqa: ASYNC110 (nobody tells)
                await trio.sleep(0.01)


@asynccontextmanager
async def a_site(
    sandbox: str = "auto", *, root: Path | None = None, dea: Any = None, **more: Any
) -> AsyncIterator[Site]:
    """A site on free ports, where an app runs already."""
    async with a_world(dea or CONFIG, sandbox) as world:
        kit = replace(world.kit.named("ssh"), stopping=trio.Event())
        config = SshConfig(bind="127.0.0.1:0", root=root, **more)
        async with trio.open_nursery() as nursery:
            url = await nursery.start(partial(serve, config, kit))
            about = await kit.request(SshLocate(), SshAdvertise, timeout=10)
            site = Site(world, int(url.rpartition(":")[2]), about, stop=kit.stopping.set)
            async with trio.open_nursery() as others:
                await others.start(site.controller)
                world.start(world.order(app(WEB), env=["MINE=yes"]))
                await world.running()
                yield site
                kit.stopping.set()
                others.cancel_scope.cancel()


@pytest.fixture
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site whose app is confined as this machine can, or as the test's parameter says."""
    async with a_site(getattr(request, "param", "auto")) as one:
        yield one
