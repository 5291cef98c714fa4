"""The bus on a NATS server beside nats-py alone: ``python -m benchmarks.nats_bus``.

Each of them is measured in processes of its own, which take turns; whoever publishes and asks
also receives and answers. nats-py has its plain asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time

from benchmarks.bus import BURST, MESSAGES, PAYLOAD, nats_server, quantile, verdict
from benchmarks.table import table

ROUNDS = 5
ALONE = 3000  # requests one after the other
TOGETHER = 10_000  # requests with IN_FLIGHT at a time
IN_FLIGHT = 64
PUBLISH_GOAL = 0.6  # of nats-py's rate
DELIVERY_GOAL = 0.5
TOGETHER_GOAL = 0.5
P50_GOAL = 2.5  # times nats-py's


async def ours(url: str) -> dict[str, object]:
    """The figures of the NATS bus."""
    import trio

    from appliance.kernel.bus.nats import open_nats_bus
    from benchmarks.bus import bus_rate, request_times

    async with open_nats_bus([url]) as bus:
        began = time.perf_counter()
        for _ in range(MESSAGES // BURST):
            for _ in range(BURST):
                bus.publish("bench.none", PAYLOAD)
            await trio.lowlevel.checkpoint()
        await bus.flush()
        publish = MESSAGES / (time.perf_counter() - began)
        delivery = await bus_rate(bus)
        alone, _ = await request_times(bus, 1, ALONE)
        _, together = await request_times(bus, IN_FLIGHT, TOGETHER)
        assert not bus.lost
    return {"publish": publish, "delivery": delivery, "alone": alone, "together": together}


async def plain(url: str) -> dict[str, object]:
    """The same of nats-py alone."""
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

    began = time.perf_counter()
    for _ in range(MESSAGES):
        await client.publish("bench.none", PAYLOAD)
    await client.flush()
    publish = MESSAGES / (time.perf_counter() - began)
    await client.subscribe("bench.one", cb=receive)
    await client.subscribe("bench.echo", cb=answer)
    began = time.perf_counter()
    for _ in range(MESSAGES // BURST):
        caught_up.clear()
        for _ in range(BURST):
            await client.publish("bench.one", PAYLOAD)
        await caught_up.wait()
    delivery = MESSAGES / (time.perf_counter() - began)
    times: list[float] = []
    await ask(ALONE)
    alone, times = times, []
    began = time.perf_counter()
    await asyncio.gather(*(ask(TOGETHER // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    together = len(times) / (time.perf_counter() - began)
    await client.close()
    return {"publish": publish, "delivery": delivery, "alone": alone, "together": together}


def measure(role: str, url: str) -> dict[str, object]:
    """What a process in *role* has found."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.nats_bus", role, url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure both, and print a table."""
    with nats_server() as url:
        if not url:
            print("no nats-server is installed: nothing to measure")
            return
        rounds: dict[str, list[dict[str, object]]] = {"plain": [], "ours": []}
        for _ in range(ROUNDS):
            for role, found in rounds.items():
                found.append(measure(role, url))

    def rate(role: str, name: str) -> float:
        return statistics.median(float(str(one[name])) for one in rounds[role])

    def time_of(role: str, percent: int) -> float:
        return quantile([list(one["alone"]) for one in rounds[role]], percent)  # type: ignore[call-overload]

    rows = []
    for name, heading, goal in (
        ("publish", "published, and taken by the server", PUBLISH_GOAL),
        ("delivery", "published and received", DELIVERY_GOAL),
        ("together", f"requests, {IN_FLIGHT} in flight", TOGETHER_GOAL),
    ):
        alone, bus = rate("plain", name), rate("ours", name)
        against = f"{bus / alone:.2f}, at least {goal}"
        rows.append(
            (heading, f"{alone:,.0f}/s", f"{bus:,.0f}/s", against, verdict(bus >= goal * alone))
        )
    for percent in (50, 99):
        alone, bus = time_of("plain", percent), time_of("ours", percent)
        goal = f", at most {P50_GOAL}" if percent == 50 else ""
        said = verdict(bus <= P50_GOAL * alone) if percent == 50 else ""
        rows.append(
            (f"one request, p{percent}", f"{alone:.0f} us", f"{bus:.0f} us",
             f"{bus / alone:.2f}{goal}", said)
        )  # fmt: skip
    memory = [f"{rate(role, 'peak'):.0f} MB" for role in rounds]
    rows.append(("peak memory", *memory, "", ""))
    print(table(("128-byte payloads", "nats-py alone", "NATS bus", "ratio", ""), rows))


def report(found: dict[str, object]) -> None:
    """Print what a process has found, and the most memory that it had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found | {"peak": peak}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours", url]:
            import trio

            report(trio.run(ours, url))
        case ["plain", url]:
            report(asyncio.run(plain(url)))
        case _:
            main()
