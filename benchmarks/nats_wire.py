"""The NATS wire listener beside a nats-server: ``python -m benchmarks.nats_wire``.

Requester and responder are two processes with nats-py, which take the same processor
time whoever is between them. The two servers take turns, and each figure is the median
of the rounds.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.bus import nats_server
from benchmarks.table import table

ROUNDS = 5
REQUESTS = 20_000  # of one round at full speed
IN_FLIGHT = 16
PAYLOAD = bytes(128)
PACE = 1000  # requests per second of the round that measures latency
PACED = 3000  # requests of that round
RATE_GOAL = 0.5  # of nats-server's rate
LATENCY_GOAL = 2.0  # ms, 99th percentile at PACE


async def serve() -> None:
    """A local bus with a listener, and nothing else."""
    import trio  # in the child only: the asyncio roles do without

    from appliance.kernel.bus.listener.server import open_listener
    from appliance.kernel.bus.local import LocalBus

    async with open_listener(LocalBus(), "127.0.0.1:0") as listener:
        print(listener.url, flush=True)
        await trio.sleep_forever()


async def respond(url: str) -> None:
    """Answer requests with their own data."""
    import nats
    from nats.aio.msg import Msg

    client = await nats.connect(url)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await client.subscribe("bench.echo", cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def request(url: str) -> None:
    """Measure, and print requests per second, and the seconds of each paced request."""
    import nats

    client = await nats.connect(url)
    times: list[float] = []

    async def ask(count: int) -> None:
        for _ in range(count):
            await client.request("bench.echo", PAYLOAD, timeout=10)

    async def ask_at(due: float) -> None:
        # Each in a task of its own: a server that stalls does not slow its own measuring.
        # Counted from when it is sent: asyncio's timers are a millisecond late by themselves.
        await asyncio.sleep(max(0, due - time.perf_counter()))
        began = time.perf_counter()
        await client.request("bench.echo", PAYLOAD, timeout=10)
        times.append(time.perf_counter() - began)

    await ask(500)
    began = time.perf_counter()
    await asyncio.gather(*(ask(REQUESTS // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    rate = REQUESTS / (time.perf_counter() - began)
    began = time.perf_counter() + 0.1
    await asyncio.gather(*(ask_at(began + number / PACE) for number in range(PACED)))
    print(json.dumps({"rate": rate, "times": times}), flush=True)
    await client.close()


@contextmanager
def role(*words: str) -> Iterator[str]:
    """A child in the role *words*; the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.nats_wire", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def measure(url: str) -> tuple[float, float, float]:
    """Requests per second, and median and 99th percentile of paced ones in milliseconds."""
    with role("respond", url), role("request", url) as line:
        found = json.loads(line)
    quantiles = statistics.quantiles(found["times"], n=100)
    return found["rate"], quantiles[49] * 1000, quantiles[98] * 1000


def main() -> None:
    """Measure both, and print a small table."""
    with ExitStack() as stack:
        servers = {"wire listener": stack.enter_context(role("serve"))}
        if shutil.which("nats-server"):
            servers["nats-server"] = stack.enter_context(nats_server())
        else:
            print("no nats-server is installed: nothing to compare with")
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, url in servers.items():
                found[name].append(measure(url))
    medians = {
        name: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }
    rows = [
        (name, f"{rate:,.0f}", f"{p50:.2f} ms", f"{p99:.2f} ms")
        for name, (rate, p50, p99) in medians.items()
    ]
    heads = ("server", f"requests/s, {IN_FLIGHT} in flight", f"p50 at {PACE}/s", f"p99 at {PACE}/s")
    print(table(heads, rows))
    rate, _, p99 = medians["wire listener"]
    print(f"\np99 at {PACE} requests/s: {p99:.2f} ms (goal: at most {LATENCY_GOAL} ms)")
    if "nats-server" in medians:
        ratio = rate / medians["nats-server"][0]
        print(f"listener / nats-server: {ratio:.2f} (goal: at least {RATE_GOAL})")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            import trio

            trio.run(serve)
        case ["respond", url]:
            asyncio.run(respond(url))
        case ["request", url]:
            asyncio.run(request(url))
        case _:
            main()
