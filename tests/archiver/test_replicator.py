"""The sender: long waits without waiting, on trio's own clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from appliance.archiver.plan import Holding, Peer
from appliance.archiver.replicator import replicate
from appliance.archiver.store import DropletStore, open_store
from appliance.config import ArchiverConfig
from appliance.kernel.clock import Clock, Ids
from appliance.kernel.http.client import Response
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.kit import Kit, joined
from appliance.kernel.trace import Event, Trace, current_trace

CONFIG = ArchiverConfig(retry_first=1.0, retry_most=60.0, batch=4)
PEER = Peer("peer", "http://user:secret@peer")


class TrioClock(Clock):
    """Wall time that goes with trio's clock."""

    def time(self) -> float:
        return 1e9 + trio.current_time()


@dataclass
class SleepyPeer:
    """Takes droplets from *wakes_at* seconds on; *refuses* names what it never takes before."""

    wakes_at: float = 0.0
    refuses: dict[str, float] = field(default_factory=dict)
    answer: int = 409
    tried: list[tuple[float, str]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    together: int = 0
    most_together: int = 0

    async def upload(
        self, method: str, url: str, path: Path, *, headers: Mapping[str, str]
    ) -> Response:
        return await self.request(method, url, headers=headers)

    async def request(self, method: str, url: str, *, headers: Mapping[str, str]) -> Response:
        app = url.split("/")[-2]
        self.tried.append((round(trio.current_time(), 3), app))
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await trio.sleep(0.001)
        self.together -= 1
        if trio.current_time() < self.wakes_at:
            raise HttpFailed("peer cannot be reached: connection refused.")
        if trio.current_time() < self.refuses.get(app, 0):
            return Response(self.answer, {}, b"no")
        self.taken.append(f"{method} {app}")
        self.traces.append(current_trace.get())
        return Response(200, {}, b"OK")


@pytest.fixture
def events() -> list[Event]:
    return []


def make_kit(peer: SleepyPeer, events: list[Event]) -> Kit:
    return Kit(
        room="archiver",
        bus=cast(Any, None),
        http=cast(Any, peer),
        spawner=cast(Any, None),
        trace=Trace("archiver", [events.append]),
        clock=TrioClock(),
        ids=Ids(seed=7),
    )


async def owe(store: DropletStore, *apps: str) -> None:
    """Put droplets into the outbox without any file: the peer looks at none."""
    for number, app in enumerate(apps):
        held = Holding(app, f"{number:040x}", "f" * 64, 7, 1)
        await store._write(held, [PEER.name])


async def run(store: DropletStore, kit: Kit, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await replicate(store, PEER, CONFIG, kit)


async def test_backs_off_until_the_peer_wakes(
    autojump_clock: MockClock, events: list[Event]
) -> None:
    """Waits double from half to one second up to a minute, and the droplet is taken once."""
    peer = SleepyPeer(wakes_at=200)
    kit = make_kit(peer, events)
    async with open_store(None, kit.clock) as store:
        await owe(store, "app")
        await run(store, kit, 1000)
        assert await store.outbox.count() == 0
    assert peer.taken == ["POST app"]
    times = [at for at, _ in peer.tried]
    waits = [later - earlier for earlier, later in pairwise(times)]
    for tries, wait in enumerate(waits):
        whole = min(60.0, 2.0**tries)
        assert whole / 2 - 0.01 <= wait <= whole + 0.01
    whats = [event.what for event in events]
    assert whats.count("peer.lost") == whats.count("peer.recovered") == 1
    assert not any("secret" in str(event) for event in events)


async def test_asks_a_peer_that_is_down_with_one_droplet(
    autojump_clock: MockClock, events: list[Event]
) -> None:
    """After the first failed batch a single probe each time, then everything at once."""
    peer = SleepyPeer(wakes_at=3)
    kit = make_kit(peer, events)
    async with open_store(None, kit.clock) as store:
        await owe(store, *(f"app-{number}" for number in range(10)))
        await run(store, kit, 60)
        assert await store.outbox.count() == 0
    failed = [app for at, app in peer.tried if at < 3]
    assert sorted(failed[:4]) == ["app-0", "app-1", "app-2", "app-3"]
    assert set(failed[4:]) == {"app-0"}
    assert sorted(peer.taken) == [f"POST app-{number}" for number in range(10)]
    assert peer.most_together == CONFIG.batch


async def test_one_refused_droplet_holds_up_no_other(
    autojump_clock: MockClock, events: list[Event]
) -> None:
    """The peer has another content under one name: the rest goes on, that one waits longer."""
    peer = SleepyPeer(refuses={"app-0": 100})
    kit = make_kit(peer, events)
    async with open_store(None, kit.clock) as store:
        await owe(store, *(f"app-{number}" for number in range(6)))
        await run(store, kit, 5)
        assert sorted(peer.taken) == [f"POST app-{number}" for number in range(1, 6)]
        await run(store, kit, 1000)
        assert peer.taken[-1] == "POST app-0"
    tries = [at for at, app in peer.tried if app == "app-0"]
    assert 6 <= len(tries) <= 12
    assert "peer.lost" not in [event.what for event in events]


@pytest.mark.parametrize("status", [401, 429, 500, 503, 507])
async def test_a_peer_that_cannot_take_anything_counts_as_down(
    autojump_clock: MockClock, events: list[Event], status: int
) -> None:
    """Wrong credentials or a full disk are the peer's trouble, not the droplet's."""
    peer = SleepyPeer(refuses={f"app-{number}": 10.0 for number in range(4)}, answer=status)
    kit = make_kit(peer, events)
    async with open_store(None, kit.clock) as store:
        await owe(store, *(f"app-{number}" for number in range(4)))
        await run(store, kit, 100)
        assert await store.outbox.count() == 0
    assert [event.what for event in events].count("peer.lost") == 1


async def test_a_new_droplet_is_sent_at_once(
    autojump_clock: MockClock, events: list[Event]
) -> None:
    """A sender without work waits for the event, and not for a time."""
    peer = SleepyPeer()
    kit = make_kit(peer, events)
    async with open_store(None, kit.clock) as store, trio.open_nursery() as nursery:
        nursery.start_soon(replicate, store, PEER, CONFIG, kit)
        await trio.sleep(12_345.678)
        with joined("push-1"):
            await owe(store, "app")
        await trio.sleep(0.01)
        assert peer.tried == [(12_345.678, "app")]
        assert peer.traces == ["push-1"]
        nursery.cancel_scope.cancel()


async def test_sends_a_deletion_as_such(autojump_clock: MockClock, events: list[Event]) -> None:
    """What is owed is the droplet as it is now: here, gone."""
    peer = SleepyPeer(wakes_at=5)
    kit = make_kit(peer, events)
    async with open_store(None, kit.clock) as store:
        await owe(store, "app")
        await run(store, kit, 1)
        await store._write(Holding("app", "0" * 40, "f" * 64, 7, 2), [PEER.name])
        await run(store, kit, 100)
    assert peer.taken == ["DELETE app"]
