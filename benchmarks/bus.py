"""How fast the local bus is, beside a bare trio memory channel: ``python -m benchmarks.bus``.

Medians of rounds that take turns, since a busy machine slows both.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import trio

from appliance.kernel.bus import Bus
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.bus.mailbox import Mailbox
from appliance.kernel.bus.subjects import SubjectTrie, matches
from benchmarks.table import table

ROUNDS = 5
MESSAGES = 50_000  # of one round of publishing
PUBLISHES = 200_000  # of one round in which nothing is received
REQUESTS = 10_000  # of one round of requests
BURST = 1000  # messages published before the subscriber gets its turn
IN_FLIGHT = 16
PAYLOAD = bytes(128)
SUBSCRIPTIONS = 10_000  # that have nothing to do with what is published
FEW = 10  # of the same kinds, to compare with
SUBJECTS = 20_000  # different ones: more than the bus remembers
DELIVERY_GOAL = 0.6  # of the memory channel's rate
REQUESTS_GOAL = 40_000  # per second, IN_FLIGHT at a time
P50_GOAL = 40  # us
COST_GOAL = 0.10  # of the publish rate

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


async def request_times(
    bus: Bus, in_flight: int, requests: int = REQUESTS
) -> tuple[list[float], float]:
    """Seconds of each request, and requests per second."""
    times: list[float] = []

    async def answer() -> None:
        async for message in asked:
            bus.publish(message.reply, message.data)

    async def ask() -> None:
        for _ in range(requests // in_flight):
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


@contextmanager
def crowd(bus: LocalBus, count: int) -> Iterator[None]:
    """*count* subscriptions of all kinds in the block, which hear nothing of the benchmark."""
    kinds = ("dea.{}.start", "logs.lines.{}", "app.{}.*", "app.{}.>", "*.{}.route")
    with ExitStack() as stack:
        for number in range(count):
            pattern, mailbox = kinds[number % len(kinds)].format(number), Mailbox()
            bus.attach(mailbox, pattern)
            stack.callback(bus.detach, mailbox, pattern)
        yield


async def publish_rate(count: int, subjects: int) -> float:
    """Messages per second that are published to *subjects* in turn, with *count* subscriptions."""
    bus = LocalBus(queue_messages=10)  # what is received is not measured here
    names = [f"bench.{number}" for number in range(subjects)]
    with crowd(bus, count):
        async with bus.subscribe("bench.>"):
            began = time.perf_counter()
            for number in range(PUBLISHES):
                bus.publish(names[number % subjects], PAYLOAD)
            return PUBLISHES / (time.perf_counter() - began)


def finding() -> tuple[float, float]:
    """Microseconds to find the subscribers of a subject among many: by the trie, by looking."""
    kinds = ("dea.{}.start", "logs.lines.{}", "app.{}.*", "app.{}.>", "*.{}.route")
    patterns = [kinds[number % 5].format(number) for number in range(SUBSCRIPTIONS)]
    trie: SubjectTrie[int] = SubjectTrie()
    for number, pattern in enumerate(patterns):
        trie.add(pattern, number)
    subjects = [f"app.{number}.x" for number in range(2, SUBSCRIPTIONS, 500)]
    began = time.perf_counter()
    for _ in range(100):
        found = [trie.match(subject) for subject in subjects]
    by_trie = (time.perf_counter() - began) / (100 * len(subjects))
    began = time.perf_counter()
    looked = [[n for n, one in enumerate(patterns) if matches(one, s)] for s in subjects]
    by_looking = (time.perf_counter() - began) / len(subjects)
    assert [sorted(one) for one in found] == looked
    return by_trie * 1e6, by_looking * 1e6


def quantile(rounds: list[list[float]], percent: int) -> float:
    """The median of the rounds' *percent*-th percentiles, in microseconds."""
    return statistics.median(statistics.quantiles(one, n=100)[percent - 1] for one in rounds) * 1e6


def verdict(kept: bool) -> str:
    """For the last column."""
    return "kept" if kept else "MISSED"


def peak() -> str:
    """The most memory that this process has had."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"


def main() -> None:
    """Measure, and print a table."""
    channel, local, loaded, alone, together = [], [], [], [], []
    few, many, few_new, many_new = [], [], [], []
    for _ in range(ROUNDS):
        channel.append(trio.run(channel_rate))
        local.append(trio.run(bus_rate, LocalBus()))
        loaded.append(trio.run(partial(bus_rate, LocalBus(), headers=HEADERS)))
        alone.append(trio.run(request_times, LocalBus(), 1)[0])
        together.append(trio.run(request_times, LocalBus(), IN_FLIGHT)[1])
        few.append(trio.run(publish_rate, FEW, 1))
        many.append(trio.run(publish_rate, SUBSCRIPTIONS, 1))
        few_new.append(trio.run(publish_rate, FEW, SUBJECTS))
        many_new.append(trio.run(publish_rate, SUBSCRIPTIONS, SUBJECTS))
    rate = statistics.median
    ratio = rate(local) / rate(channel)
    requests, p50 = rate(together), quantile(alone, 50)
    cost, cost_new = 1 - rate(many) / rate(few), 1 - rate(many_new) / rate(few_new)
    by_trie, by_looking = finding()
    rows = [
        ("trio memory channel", f"{rate(channel):,.0f}/s", "", ""),
        ("delivery to one subscriber", f"{rate(local):,.0f}/s",
         f"{ratio:.2f} of the channel, at least {DELIVERY_GOAL}", verdict(ratio >= DELIVERY_GOAL)),
        ("the same with two headers", f"{rate(loaded):,.0f}/s",
         f"{rate(loaded) / rate(channel):.2f} of the channel", ""),
        (f"requests, {IN_FLIGHT} in flight", f"{requests:,.0f}/s",
         f"at least {REQUESTS_GOAL:,}", verdict(requests >= REQUESTS_GOAL)),
        ("one request, p50", f"{p50:.0f} us", f"under {P50_GOAL} us", verdict(p50 < P50_GOAL)),
        ("one request, p99", f"{quantile(alone, 99):.0f} us", "", ""),
        (f"published with {SUBSCRIPTIONS:,} subscriptions", f"{rate(many):,.0f}/s",
         f"{cost:+.1%} of {rate(few):,.0f}/s with {FEW}, less than {COST_GOAL:.0%}",
         verdict(cost < COST_GOAL)),
        (f"the same, to {SUBJECTS:,} subjects in turn", f"{rate(many_new):,.0f}/s",
         f"{cost_new:+.1%} of {rate(few_new):,.0f}/s with {FEW}, less than {COST_GOAL:.0%}",
         verdict(cost_new < COST_GOAL)),
        (f"subscribers of a subject among {SUBSCRIPTIONS:,}", f"{by_trie:.1f} us",
         f"by looking at each: {by_looking:,.0f} us", ""),
        ("peak memory of all this", peak(), "", ""),
    ]  # fmt: skip
    print(table(("local bus, 128-byte payloads", "median of 5", "against", ""), rows))


if __name__ == "__main__":
    main()
