"""Who is found on the bus: those that are there, and those that come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.kernel.bus.local import LocalBus
from appliance.kernel.component import Announce, Component
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.neighbours import ANSWERS_WITHIN, follow
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Trace


class ShakyBus(LocalBus):
    """A bus whose outages the test makes."""

    def __init__(self) -> None:
        super().__init__()
        self.back = trio.Event()

    async def reconnected(self) -> None:
        await self.back.wait()


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    """A kit on a bus of its own."""
    http, bus = Client(), ShakyBus()
    yield Kit(room="x", bus=bus, http=http, spawner=cast(Spawner, None), trace=Trace("x", []))
    await http.aclose()
    await bus.aclose()


def announced(host: str, type_: str = "Archiver") -> Announce:
    return Announce(type=type_, uuid="u", host=host, credentials=["a", "b"], start="now")


async def test_each_is_found_once(kit: Kit, autojump_clock: MockClock) -> None:
    """Who was there before, and who came later; others' types are others' business."""
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(Component(kit, "Archiver").run, "http://127.0.0.1:1")
        await nursery.start(Component(kit, "DEA").run, "http://127.0.0.1:2")
        await nursery.start(follow, kit, "Archiver", found.append)
        await trio.sleep(ANSWERS_WITHIN / 2)
        await nursery.start(Component(kit, "Archiver").run, "http://127.0.0.1:3")
        await trio.sleep(ANSWERS_WITHIN)
        kit.publish(announced("127.0.0.1:4"))
        kit.publish(announced("127.0.0.1:4"))
        kit.publish(announced("127.0.0.1:5", "Stager"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert found == ["127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:4"]


@pytest.mark.parametrize(
    "host", ["", "nowhere", "http://a:1", "u:p@a:1", "a:1/x", "a b:1", "a:port", "-a:1", "a:123456"]
)
async def test_what_is_no_address_is_passed_over(kit: Kit, host: str) -> None:
    """Anybody may announce anything; the next one is heard all the same."""
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(follow, kit, "Archiver", found.append)
        kit.bus.publish(Announce.subject, b"nonsense")
        kit.publish(announced(host))
        kit.publish(announced("[::1]:7760"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert found == ["[::1]:7760"]


async def test_who_came_in_an_outage_is_asked_for(kit: Kit, autojump_clock: MockClock) -> None:
    """Their announcement was heard by nobody."""
    found: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(follow, kit, "Archiver", found.append)
        await trio.sleep(2 * ANSWERS_WITHIN)

        async def answer() -> None:
            async with kit.bus.subscribe("vcap.component.discover") as questions:
                async for question in questions:
                    kit.publish(announced("127.0.0.1:9"), subject=question.reply)

        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
        assert found == []
        cast(ShakyBus, kit.bus).back.set()
        await trio.sleep(ANSWERS_WITHIN)
        nursery.cancel_scope.cancel()
    assert found == ["127.0.0.1:9"]
