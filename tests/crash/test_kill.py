"""Two real archivers, killed again and again: what they acknowledged is there."""

from __future__ import annotations

import hashlib
import signal
import statistics
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import apsw
import pytest
import trio

from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import HttpFailed
from tests.crash.processes import Acknowledged, Process, Users, free_port, process

USERS = 4
SHORT, LONG = 30, 1_000  # kills
DRAINED = 60.0  # seconds that the peers may take to be even
READERS = 8


async def kill_at_random(node: Process, rng: Random, counts: Counter[str], kills: int) -> None:
    """Kill *node* 10 ms to 1 s after each start, one time in ten politely."""
    for _ in range(kills):
        await trio.sleep(rng.uniform(0.01, rng.choice([0.05, 0.25, 1.0])))
        how = signal.SIGTERM if rng.random() < 0.1 else signal.SIGKILL
        await node.kill(how)
        counts[how.name] += 1
        await node.start()


async def missing(client: Client, url: str, droplets: list[Acknowledged]) -> Counter[str]:
    """How many of *droplets* the archiver at *url* does not have, or not as they were."""
    counts: Counter[str] = Counter()
    todo = list(droplets)

    async def read() -> None:
        while todo:
            droplet = todo.pop()
            try:
                answer = await client.request("GET", droplet.at(url))
            except HttpFailed:
                counts["broken"] += 1
                continue
            if answer.status != 200:
                counts["lost"] += 1
            elif hashlib.sha256(answer.body).hexdigest() != droplet.sha256:
                counts["corrupt"] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(READERS):
            nursery.start_soon(read)
    return counts


async def loop(folder: Path, kills: int) -> None:
    """Kill, then look at everything."""
    counts: Counter[str] = Counter()
    one, two = free_port(), free_port()
    client = Client()
    async with (
        process(folder / "a", one, two) as a,
        process(folder / "b", two, one) as b,
    ):
        nodes, users = [a, b], Users(1, client)
        for node in nodes:
            await node.start()
        async with trio.open_nursery() as storing:
            for number in range(USERS):
                storing.start_soon(users.store, [a.url, b.url], number)
            async with trio.open_nursery() as killing:
                for number, node in enumerate(nodes):
                    killing.start_soon(
                        partial(kill_at_random, node, Random(number), counts, kills // 2)
                    )
            storing.cancel_scope.cancel()
        stored = users.acknowledged
        for node in nodes:
            own = [droplet for droplet in stored if droplet.url == node.url]
            assert not await missing(client, node.url, own), "an acknowledged droplet is lost"
        began = trio.current_time()
        with trio.move_on_after(DRAINED):
            while any([await missing(client, node.url, stored) for node in nodes]):  # noqa: ASYNC110
                await trio.sleep(0.2)
        drained = trio.current_time() - began
        for node in nodes:
            assert not await missing(client, node.url, stored), "a replica is missing"
            await node.kill(signal.SIGTERM)
            check_folder(node.root)
    await client.aclose()
    boots = sorted(second for node in nodes for second in node.boots)
    print(
        f"\n{counts['SIGKILL']} SIGKILL and {counts['SIGTERM']} SIGTERM, {len(stored):,} "
        f"acknowledged, {users.refused:,} requests cut off, 0 lost, 0 corrupt, 0 missing on the "
        f"peer after {drained:.1f} s; start {statistics.median(boots) * 1000:.0f} ms at the "
        f"median, {boots[int(len(boots) * 0.99)] * 1000:.0f} ms at 99 %"
    )
    assert stored


def check_folder(root: Path) -> None:
    """No half received file is left, and the database is whole."""
    assert not list((root / "spool").iterdir())
    assert not list((root / "quarantine").iterdir())
    connection = apsw.Connection(str(root / "archiver.db"))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """The short form."""
    await loop(tmp_path, SHORT)


@pytest.mark.soak
async def test_a_thousand_kills(tmp_path: Path) -> None:
    """The long form; its figures are for docs/reliability.md (`-s` shows them)."""
    await loop(tmp_path, LONG)
