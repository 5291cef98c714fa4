"""The log store on the bus: what is sent is found again, completely and once."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import pytest
import trio

from appliance.config import LogsConfig
from appliance.kernel.bus import NoResponders
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Trace
from appliance.logs.messages import LIMIT, Line, LogLines, ReadLogs, ReadLogsReply
from appliance.logs.service import serve

NOW = 1_769_860_800_000_000_000  # nanoseconds
PATIENCE = 10.0  # seconds


@asynccontextmanager
async def log_store(config: LogsConfig | None = None) -> AsyncIterator[Kit]:
    """A running log store; yields the kit of somebody else on its bus."""
    http, bus = Client(), LocalBus()
    kit = Kit(room="logs", bus=bus, http=http, spawner=cast(Spawner, None), trace=Trace("logs", []))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, config or LogsConfig(), kit))
        assert kit.health.ready("logs")
        yield kit.named("dea")
        kit.stopping.set()
    await http.aclose()
    await bus.aclose()


def send(kit: Kit, lines: list[Line], source: str = "app") -> None:
    kit.publish(LogLines(source=source, lines=lines), subject=f"logs.lines.{source}")


async def read(kit: Kit, query: ReadLogs) -> ReadLogsReply:
    return await kit.request(query, ReadLogsReply, timeout=PATIENCE)


async def follow(kit: Kit, count: int) -> list[str]:
    """Read ascending as ``cf logs`` does, until *count* lines are there."""
    texts: list[str] = []
    start = -6795364578871345152
    with trio.fail_after(PATIENCE):
        while len(texts) < count:
            query = ReadLogs(source="app", start_time=start, limit=LIMIT, types=["LOG"])
            batch = (await read(kit, query)).batch
            for envelope in batch:
                texts.append(base64.b64decode(envelope["log"]["payload"]).decode())
                start = int(envelope["timestamp"]) + 1
    return texts


@pytest.mark.parametrize("per_message", [1, 100])
async def test_a_burst_is_kept_completely_and_in_order(per_message: int) -> None:
    """Ten thousand lines with few different timestamps, read page by page: none lost or twice."""
    lines = [
        Line(timestamp=NOW + number // 1000, text=f"line {number}", source_type="APP/PROC/WEB")
        for number in range(10_000)
    ]
    async with log_store() as kit:
        for begin in range(0, len(lines), per_message):
            send(kit, lines[begin : begin + per_message])

        assert await follow(kit, 10_000) == [line.text for line in lines]


async def test_a_burst_is_followed_while_it_goes_on() -> None:
    """A reader at the same time as the writers sees every line once."""

    async def write(kit: Kit, writer: int) -> None:
        for number in range(50):
            text = f"{writer}:{number}"
            send(kit, [Line(timestamp=NOW, text=text, source_type="STG")])
            await trio.lowlevel.checkpoint()

    async with log_store() as kit, trio.open_nursery() as nursery:
        for writer in range(4):
            nursery.start_soon(write, kit, writer)
        texts = await follow(kit, 200)

    assert sorted(texts) == sorted(f"{w}:{n}" for w in range(4) for n in range(50))
    for writer in range(4):
        own = [text for text in texts if text.startswith(f"{writer}:")]
        assert own == [f"{writer}:{n}" for n in range(50)]


async def test_a_burst_waits_for_a_slow_reader() -> None:
    """Clients stay two seconds behind: what two instances say meanwhile is all there then."""
    lines = [
        Line(timestamp=NOW, text=f"{number} {'x' * 500}", source_type="APP/PROC/WEB")
        for number in range(20_000)
    ]
    async with log_store() as kit:
        for begin in range(0, len(lines), 100):
            send(kit, lines[begin : begin + 100])

        assert await follow(kit, 20_000) == [line.text for line in lines]


async def test_an_answer_fits_the_bus() -> None:
    """A thousand long lines do not fit into one message: fewer come, and the rest after them."""
    lines = [
        Line(timestamp=NOW + number, text=f"{number:04}" + "x" * 3000, source_type="STG")
        for number in range(600)
    ]
    async with log_store(LogsConfig(per_source=4 << 20)) as kit:
        for line in lines:
            send(kit, [line])
        assert await follow(kit, 600) == [line.text for line in lines]

        for descending in (False, True):
            query = ReadLogs(source="app", limit=LIMIT, descending=descending)
            assert 100 < len((await read(kit, query)).batch) < 600


async def test_what_cannot_be_understood_changes_nothing() -> None:
    """A message that is no LogLines, and a query that is no ReadLogs, which is told so."""
    async with log_store() as kit:
        kit.bus.publish("logs.lines.app", b"[]")
        send(kit, [Line(timestamp=NOW, text="good", source_type="STG")])
        refusal = await kit.bus.request("logs.read", b"{}", timeout=PATIENCE)

        assert b"error" in refusal.data
        assert await follow(kit, 1) == ["good"]


async def test_of_several_stores_one_answers() -> None:
    """All hear the lines, and a stopped one answers no more."""
    async with log_store() as kit:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, LogsConfig(), kit.named("logs2")))
            send(kit, [Line(timestamp=NOW, text="x", source_type="STG")])
            assert await follow(kit, 1) == ["x"]
            assert await follow(kit, 1) == ["x"]
            kit.stopping.set()
        with pytest.raises(NoResponders):
            await read(kit, ReadLogs(source="app"))
