"""How fast the buses are, each beside something bare: ``python -m benchmarks.bus``.

The local bus is measured against a trio memory channel, the NATS bus (when a
nats-server is installed) against nats-py on a plain asyncio loop. Medians of rounds
that take turns, since a busy machine slows both.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from appliance.kernel.bus import Bus
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.bus.nats import open_nats_bus

ROUNDS = 5
MESSAGES = 50_000  # of one round of publishing
REQUESTS = 10_000  # of one round of requests
BURST = 1000  # messages published before the subscriber gets its turn
IN_FLIGHT = 16
PAYLOAD = bytes(128)
T = TypeVar("T")

HEADERS = {"X-Appliance-Room": "dea", "X-Vcap-Request-Id": "0f8fad5b-d9cb-469f-a165-70867728950e"}


async def channel_rate() -> float:
    """Messages per second through a bare memory channel."""
    send, receive = trio.open_memory_channel[bytes](BURST)
    received = 0
    caught_up = trio.Event()

    async def take() -> None:
        nonlocal received
        async for _ in receive:
            received += 1
            if received % BURST == 0:
                caught_up.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        began = time.perf_counter()
        for _ in range(MESSAGES // BURST):
            caught_up = trio.Event()
            for _ in range(BURST):
                send.send_nowait(PAYLOAD)
            await caught_up.wait()
        elapsed = time.perf_counter() - began
        send.close()
    return MESSAGES / elapsed


async def bus_rate(bus: Bus, *, headers: dict[str, str] | None = None) -> float:
    """Messages per second from `publish` to a subscriber in the same process."""
    received = 0
    caught_up = trio.Event()

    async def receive() -> None:
        nonlocal received
        async for _ in subscription:
            received += 1
            if received % BURST == 0:
                caught_up.set()

    async with bus.subscribe("bench.one") as subscription, trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        began = time.perf_counter()
        for _ in range(MESSAGES // BURST):
            caught_up = trio.Event()
            for _ in range(BURST):
                bus.publish("bench.one", PAYLOAD, headers=headers)
            await caught_up.wait()
        elapsed = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return MESSAGES / elapsed


async def request_times(bus: Bus, in_flight: int) -> tuple[list[float], float]:
    """Seconds of each request, and requests per second."""
    times: list[float] = []

    async def answer() -> None:
        async for message in asked:
            bus.publish(message.reply, message.data)

    async def ask() -> None:
        for _ in range(REQUESTS // in_flight):
            began = time.perf_counter()
            await bus.request("bench.echo", PAYLOAD, timeout=10)
            times.append(time.perf_counter() - began)

    async with bus.subscribe("bench.echo", queue="bench") as asked, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        began = time.perf_counter()
        async with trio.open_nursery() as requesters:
            for _ in range(in_flight):
                requesters.start_soon(ask)
        rate = len(times) / (time.perf_counter() - began)
        nursery.cancel_scope.cancel()
    return times, rate


async def on_nats(url: str, measure: Callable[[Bus], Awaitable[T]]) -> T:
    """What *measure* says of a NATS bus."""
    async with open_nats_bus([url]) as bus:
        return await measure(bus)


async def plain_nats(url: str) -> tuple[float, list[float], float]:
    """The same of nats-py alone: delivery rate, request times, rate of requests in flight."""
    import nats
    from nats.aio.msg import Msg

    client = await nats.connect(url)
    received = 0
    caught_up = asyncio.Event()

    async def receive(_: object) -> None:
        nonlocal received
        received += 1
        if received % BURST == 0:
            caught_up.set()

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    async def ask(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            await client.request("bench.echo", PAYLOAD, timeout=10)
            times.append(time.perf_counter() - began)

    await client.subscribe("bench.one", cb=receive)
    await client.subscribe("bench.echo", cb=answer)
    began = time.perf_counter()
    for _ in range(MESSAGES // BURST):
        caught_up.clear()
        for _ in range(BURST):
            await client.publish("bench.one", PAYLOAD)
        await caught_up.wait()
    rate = MESSAGES / (time.perf_counter() - began)
    times: list[float] = []
    await ask(REQUESTS // 4)
    alone, times = times, []
    began = time.perf_counter()
    await asyncio.gather(*(ask(REQUESTS // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    together = len(times) / (time.perf_counter() - began)
    await client.close()
    return rate, alone, together


@contextmanager
def nats_server() -> Iterator[str]:
    """The address of a nats-server of our own; "" when there is none."""
    program = shutil.which("nats-server")
    if program is None:
        yield ""
        return
    with tempfile.TemporaryDirectory() as folder:
        options = ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", folder]
        with subprocess.Popen([program, *options], stderr=subprocess.DEVNULL) as process:
            try:
                while not (files := list(Path(folder).glob("*.ports"))):
                    time.sleep(0.01)
                time.sleep(0.05)  # for the file to be whole
                yield json.loads(files[0].read_text())["nats"][0]
            finally:
                process.kill()


def row(name: str, delivery: list[float], alone: list[list[float]], together: list[float]) -> str:
    """One line of the table."""
    cells = [f"{statistics.median(delivery) / 1000:>12.0f}"]
    if alone:
        p50 = statistics.median(statistics.quantiles(times, n=100)[49] for times in alone)
        p99 = statistics.median(statistics.quantiles(times, n=100)[98] for times in alone)
        cells.append(f"{p50 * 1e6:>10.0f} {p99 * 1e6:>7.0f} us")
        cells.append(f"{statistics.median(together) / 1000:>14.1f}")
    return f"{name:<34}" + " ".join(cells)


def main() -> None:
    """Measure, and print a small table."""
    head = ("pub>sub k/s", "request p50 / p99", "x16 k req/s")
    print(f"{'128-byte payloads':<34}{head[0]:>12} {head[1]:>21} {head[2]:>14}")
    channel, local, loaded, alone, together = [], [], [], [], []
    for _ in range(ROUNDS):
        channel.append(trio.run(channel_rate))
        local.append(trio.run(bus_rate, LocalBus()))
        loaded.append(trio.run(partial(bus_rate, LocalBus(), headers=HEADERS)))
        alone.append(trio.run(request_times, LocalBus(), 1)[0])
        together.append(trio.run(request_times, LocalBus(), IN_FLIGHT)[1])
    print(row("trio memory channel", channel, [], []))
    print(row("local bus", local, alone, together))
    print(row("local bus, two headers", loaded, [], []))
    ratio = statistics.median(local) / statistics.median(channel)
    print(f"local bus / memory channel: {ratio:.2f}")

    with nats_server() as url:
        if not url:
            print("no nats-server is installed: the NATS bus was not measured")
            return
        plain = [asyncio.run(plain_nats(url)) for _ in range(ROUNDS)]
        rates, times, rates_together = [], [], []
        for _ in range(ROUNDS):
            rates.append(trio.run(on_nats, url, bus_rate))
            times.append(trio.run(on_nats, url, partial(request_times, in_flight=1))[0])
            rates_together.append(
                trio.run(on_nats, url, partial(request_times, in_flight=IN_FLIGHT))[1]
            )
    print(row("nats-py alone", [p[0] for p in plain], [p[1] for p in plain], [p[2] for p in plain]))
    print(row("NATS bus", rates, times, rates_together))


if __name__ == "__main__":
    main()
