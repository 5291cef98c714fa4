"""The NATS bus when things go wrong: outages, refusals, and servers that are not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from appliance.kernel.bus import BusClosed, Message, RequestTimeout, Subscription
from appliance.kernel.bus.nats import open_nats_bus
from appliance.kernel.bus.remote import RemoteBus

PATIENCE = 15.0  # seconds until a test gives up on something that should happen soon


class Reports:
    """What the bus told its operator."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._news = trio.Event()

    def __call__(self, what: str, why: str) -> None:
        assert why
        self.told.append(what)
        self._news.set()
        self._news = trio.Event()

    async def wait_for(self, *expected: str) -> None:
        with trio.fail_after(PATIENCE):
            while self.told != list(expected):
                await self._news.wait()


async def receive(subscription: Subscription, count: int = 1) -> list[bytes]:
    with trio.fail_after(PATIENCE):
        return [(await subscription.receive()).data for _ in range(count)]


@asynccontextmanager
async def echo(bus: RemoteBus) -> AsyncIterator[None]:
    """Somebody who answers on ``echo``."""

    async def answer(subscription: Subscription) -> None:
        async for message in subscription:
            bus.publish(message.reply, message.data)

    async with bus.subscribe("echo", queue="echo") as asked, trio.open_nursery() as nursery:
        nursery.start_soon(answer, asked)
        yield
        nursery.cancel_scope.cancel()


async def ask(bus: RemoteBus, data: bytes) -> Message:
    return await bus.request("echo", data, timeout=PATIENCE)


async def test_comes_back_after_the_server_was_killed(nats_server: Any) -> None:
    """Subscriptions are restored, and what was published during the outage arrives once."""
    reports = Reports()
    expected: list[str] = []
    async with (
        open_nats_bus([nats_server.url], report=reports) as bus,
        echo(bus),
        bus.subscribe("news") as news,
    ):
        for number in range(2):
            nats_server.kill()
            expected.append("bus.disconnected")
            await reports.wait_for(*expected)
            bus.publish("news", b"during %d" % number)
            await trio.to_thread.run_sync(nats_server.start)
            expected.append("bus.reconnected")
            await reports.wait_for(*expected)
            bus.publish("news", b"after %d" % number)

            assert await receive(news, 2) == [b"during %d" % number, b"after %d" % number]
            assert (await ask(bus, b"x")).data == b"x"


async def test_subscribing_during_an_outage_waits_for_the_server(nats_server: Any) -> None:
    """The context is entered once the server knows, and each message comes once."""
    reports = Reports()

    async def subscribe(task_status: trio.TaskStatus[Subscription]) -> None:
        async with bus.subscribe("late") as late:
            task_status.started(late)
            await trio.sleep_forever()

    async def start_later() -> None:
        await trio.to_thread.run_sync(nats_server.start)

    async with open_nats_bus([nats_server.url], report=reports) as bus:
        nats_server.kill()
        await reports.wait_for("bus.disconnected")
        with trio.move_on_after(0.05) as scope:
            await bus.flush()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_later)
            with trio.fail_after(PATIENCE):
                late = await nursery.start(subscribe)
            bus.publish("late", b"1")
            bus.publish("late", b"2")
            assert await receive(late, 2) == [b"1", b"2"]
            nursery.cancel_scope.cancel()


async def test_requests_survive_a_short_outage(nats_server: Any) -> None:
    """One that is asked while the server is away is answered when it is back."""
    reports = Reports()
    answers: list[bytes] = []

    async def ask_once() -> None:
        answers.append((await ask(bus, b"patient")).data)

    async with open_nats_bus([nats_server.url], report=reports) as bus, echo(bus):
        nats_server.kill()
        await reports.wait_for("bus.disconnected")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_once)
            await trio.to_thread.run_sync(nats_server.start)
    assert answers == [b"patient"]


async def test_requests_during_an_outage_time_out_and_say_why(nats_server: Any) -> None:
    """The sentence names the server, since that is what is wrong."""
    reports = Reports()
    async with open_nats_bus([nats_server.url], report=reports) as bus:
        nats_server.kill()
        await reports.wait_for("bus.disconnected")
        with pytest.raises(RequestTimeout, match="out of reach"):
            await bus.request("echo", timeout=0.05)


async def test_closing_during_an_outage_does_not_wait_for_the_server(nats_server: Any) -> None:
    """Subscribers' iteration ends, and the thread with it."""
    reports = Reports()
    async with (
        open_nats_bus([nats_server.url], report=reports) as bus,
        bus.subscribe("a") as subscription,
    ):
        nats_server.kill()
        await reports.wait_for("bus.disconnected")
        bus.publish("a")
        with trio.fail_after(PATIENCE):
            await bus.aclose()
            assert [message async for message in subscription] == []


async def test_closing_does_not_wait_for_a_server_that_hangs(
    nats_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is stopped: the connection stands, but nothing is read or answered."""
    monkeypatch.setattr("appliance.kernel.bus.nats.CLOSE_TIMEOUT", 0.2)
    async with open_nats_bus([nats_server.url]) as bus, bus.subscribe("a"):
        os.kill(nats_server.pid, signal.SIGSTOP)
        for _ in range(20):
            bus.publish("a", bytes(1_000_000))
        with trio.fail_after(PATIENCE):
            await bus.aclose()


async def test_long_outages_cost_messages_not_memory(
    nats_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the newest are dropped and counted; the oldest arrive."""
    monkeypatch.setattr("appliance.kernel.bus.nats.PENDING_SIZE", 100_000)
    reports = Reports()
    async with open_nats_bus([nats_server.url], report=reports) as bus:
        async with bus.subscribe("a") as subscription:
            nats_server.kill()
            await reports.wait_for("bus.disconnected")
            for number in range(500):
                bus.publish("a", b"%d " % number + bytes(1000))
            bus.publish("a", b"x" * 1000)
            await trio.to_thread.run_sync(nats_server.start)
            await bus.flush()
            bus.publish("a", b"end")
            got = []
            while (data := (await receive(subscription))[0]) != b"end":
                got.append(int(data.split()[0]))

        assert 90 <= len(got) <= 100
        assert got == list(range(len(got)))
        assert bus.lost == 501 - len(got)


async def test_a_client_that_was_shut_out_is_replaced(nats_server: Any) -> None:
    """An ``-ERR`` ends nats-py for good; subscriptions go on with a new client."""
    nats_server.kill()
    nats_server.config = "max_control_line: 512"
    nats_server.start()
    reports = Reports()
    async with open_nats_bus([nats_server.url], report=reports) as bus, echo(bus):
        async with bus.subscribe("gone"):
            pass
        async with bus.subscribe("news") as news:
            for number in range(2):
                reports.told.clear()
                bus.publish("x" * 600)
                await reports.wait_for("bus.disconnected", "bus.reconnected")
                bus.publish("news", b"%d" % number)

                assert await receive(news) == [b"%d" % number]
                assert (await ask(bus, b"x")).data == b"x"


async def test_no_server_is_a_sentence_without_passwords(nats_server: Any) -> None:
    """It names the address, soon."""
    nats_server.kill()
    url = nats_server.url.replace("//", "//user:secret@")
    with trio.fail_after(PATIENCE), pytest.raises(BusClosed) as caught:
        async with open_nats_bus([url], timeout=0.3):
            pass
    assert f"127.0.0.1:{nats_server.port}" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


async def test_a_wrong_password_is_told(nats_server: Any) -> None:
    """In the server's own words; and the right one is taken from the address."""
    nats_server.kill()
    nats_server.config = "authorization { user: bus, password: right }"
    nats_server.start()
    address = f"127.0.0.1:{nats_server.port}"
    with pytest.raises(BusClosed, match="Authorization Violation"):
        async with open_nats_bus([f"nats://bus:wrong@{address}"], timeout=0.3):
            pass
    async with open_nats_bus([f"nats://bus:right@{address}"]) as bus, echo(bus):
        assert (await ask(bus, b"x")).data == b"x"


async def test_the_first_server_may_be_missing(nats_server: Any) -> None:
    """Any server of the list will do."""
    urls = ["nats://127.0.0.1:1", nats_server.url]
    async with open_nats_bus(urls) as bus, echo(bus):
        assert (await ask(bus, b"x")).data == b"x"


async def test_opening_can_be_cancelled(nats_server: Any) -> None:
    """At once, and no thread is left."""
    nats_server.kill()
    with trio.move_on_after(0.1) as scope:
        async with open_nats_bus([nats_server.url], timeout=1000):
            pass
    assert scope.cancelled_caught
    assert not [thread for thread in threading.enumerate() if thread.name == "bus"]


async def test_a_bug_in_the_thread_ends_the_bus_and_shows(
    nats_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever, and the exception comes out of the context."""

    def broken(self: object, frames: object) -> None:
        raise ZeroDivisionError

    async def meet_the_bug() -> None:
        async with open_nats_bus([nats_server.url]) as bus, bus.subscribe("a") as subscription:
            monkeypatch.setattr("appliance.kernel.bus.nats_client.BatchClient.write_now", broken)
            bus.publish("a")
            with trio.fail_after(PATIENCE):
                assert [message async for message in subscription] == []
            with pytest.raises(BusClosed):
                bus.publish("a")

    with pytest.raises(ZeroDivisionError):
        await meet_the_bug()


def test_nats_is_loaded_only_when_it_is_chosen() -> None:
    """Importing the module costs nothing of it."""
    program = "import sys, appliance.kernel.bus.nats; sys.exit('nats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_what_other_clients_send_ends_nothing(nats_server: Any) -> None:
    """Subjects and headers that are no text, from a client that sends what it likes."""
    async with open_nats_bus([nats_server.url]) as bus, bus.subscribe("odd.>") as odd:
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream("127.0.0.1", nats_server.port) as stream:
                await stream.receive_some()
                block = b"NATS/1.0 \xff\xfe\r\n\xff: \xff\r\n: x\r\nok: y\r\n\r\n"
                frames = b"HPUB odd.1 %d %d\r\n%bhi\r\n" % (len(block), len(block) + 2, block)
                frames += b"PUB odd.\xff\xfe 2\r\nho\r\nPUB odd.3 3\r\nend\r\nPING\r\n"
                await stream.send_all(b'CONNECT {"verbose":false,"headers":true}\r\n' + frames)
                assert await receive(odd, 3) == [b"hi", b"ho", b"end"]


async def test_nothing_is_overtaken_or_lost_while_others_come_and_go(nats_server: Any) -> None:
    """Single messages, bursts, subscriptions and flushes, one after the other and at once."""
    count = 6000
    async with open_nats_bus([nats_server.url]) as bus, bus.subscribe("seq") as heard:
        done = trio.Event()

        async def publish() -> None:
            for number in range(count):
                bus.publish("seq", b"%d" % number)
                if number % 7 == 0 or number % 1000 < 300:
                    await trio.lowlevel.checkpoint()
            done.set()

        async def come_and_go(name: str) -> None:
            while not done.is_set():
                async with bus.subscribe(f"other.{name}") as own:
                    bus.publish(f"other.{name}", b"mine")
                    assert await receive(own) == [b"mine"]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            for name in "abc":
                nursery.start_soon(come_and_go, name)
            numbers = [int(data) for data in await receive(heard, count)]
        assert numbers == list(range(count))
        assert bus.lost == 0
