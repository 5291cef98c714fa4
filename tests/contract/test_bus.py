"""What every bus promises: one suite for the local bus, a NATS server, and our own listener."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from appliance.kernel.bus import (
    MAX_PAYLOAD,
    BadSubject,
    Bus,
    BusClosed,
    Message,
    NoResponders,
    PayloadTooLarge,
    RequestTimeout,
    Subscription,
)
from appliance.kernel.bus.headers import BadHeader
from appliance.kernel.bus.listener.server import open_listener
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.bus.nats import open_nats_bus
from appliance.kernel.bus.remote import RemoteBus

PATIENCE = 10.0  # seconds until a test gives up on something that should happen soon

Pair = tuple[LocalBus | RemoteBus, LocalBus | RemoteBus]  # connected to each other


@asynccontextmanager
async def local_pair() -> AsyncIterator[Pair]:
    bus = LocalBus()
    yield bus, bus
    await bus.aclose()


@asynccontextmanager
async def wire_pair() -> AsyncIterator[Pair]:
    """Two NATS clients at the listener of a local bus."""
    async with (
        open_listener(LocalBus(), "127.0.0.1:0") as listener,
        open_nats_bus([listener.url]) as one,
        open_nats_bus([listener.url]) as two,
    ):
        yield one, two


@asynccontextmanager
async def mixed_pair() -> AsyncIterator[Pair]:
    """A room on the local bus, and a NATS client at its listener."""
    bus = LocalBus()
    async with (
        open_listener(bus, "127.0.0.1:0") as listener,
        open_nats_bus([listener.url]) as other,
    ):
        yield bus, other
    await bus.aclose()


@asynccontextmanager
async def mixed_pair_turned() -> AsyncIterator[Pair]:
    """The same, the other way round."""
    async with mixed_pair() as (bus, other):
        yield other, bus


HERE = {
    "local": local_pair,
    "wire": wire_pair,
    "room-client": mixed_pair,
    "client-room": mixed_pair_turned,
}


@pytest.fixture(params=[*HERE, "nats"])
def opened(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Pair]]:
    """What opens two connections to one bus."""
    if request.param in HERE:
        return HERE[request.param]
    url = request.getfixturevalue("nats_url")

    @asynccontextmanager
    async def nats_pair() -> AsyncIterator[Pair]:
        async with open_nats_bus([url]) as one, open_nats_bus([url]) as two:
            yield one, two

    return nats_pair


@pytest.fixture
async def pair(opened: Callable[[], AbstractAsyncContextManager[Pair]]) -> AsyncIterator[Pair]:
    async with opened() as both:
        yield both


@pytest.fixture
def bus(pair: Pair) -> Bus:
    """One connection."""
    return pair[0]


@pytest.fixture
def peer(pair: Pair) -> Bus:
    """Another one, to the same bus."""
    return pair[1]


async def take(subscription: Subscription, count: int = 1) -> list[Message]:
    """The next *count* messages."""
    with trio.fail_after(PATIENCE):
        return [await subscription.receive() for _ in range(count)]


async def texts(subscription: Subscription, count: int) -> list[str]:
    return [message.data.decode() for message in await take(subscription, count)]


@asynccontextmanager
async def answering(
    bus: Bus, subject: str, *, queue: str = "", answers: int = 1
) -> AsyncIterator[list[Message]]:
    """Somebody who answers requests on *subject* with their own data; yields what was asked."""
    asked: list[Message] = []

    async def answer(subscription: Subscription) -> None:
        async for message in subscription:
            asked.append(message)
            for _ in range(answers):
                bus.publish(message.reply, b"re: " + message.data, headers=message.headers)

    async with bus.subscribe(subject, queue=queue) as subscription, trio.open_nursery() as nursery:
        nursery.start_soon(answer, subscription)
        yield asked
        nursery.cancel_scope.cancel()


async def test_message_arrives_as_it_was_sent(bus: Bus, peer: Bus) -> None:
    """Subject, data, reply subject and headers; any bytes, none included."""
    async with bus.subscribe("a.b") as subscription:
        peer.publish("a.b", bytes(range(256)), reply="c.d", headers={"Room": "dea", "X": "ä: b"})
        peer.publish("a.b")

        assert await take(subscription, 2) == [
            Message("a.b", bytes(range(256)), "c.d", {"Room": "dea", "X": "ä: b"}),
            Message("a.b", b"", "", {}),
        ]


async def test_order_is_kept(bus: Bus, peer: Bus) -> None:
    """Messages of one sender arrive in the order in which they were published."""
    async with bus.subscribe("a.>") as subscription:
        for number in range(2000):
            peer.publish(f"a.{number % 7}", str(number).encode())

        assert await texts(subscription, 2000) == [str(number) for number in range(2000)]


async def test_wildcards_choose_what_is_heard(bus: Bus, peer: Bus) -> None:
    """``*`` is one token, ``>`` one or more; what does not match is not heard."""
    patterns = {"dea.*": "dea.a", "dea.>": "dea.a dea.a.b", "*.a.b": "dea.a.b", "dea.a": "dea.a"}
    async with (
        bus.subscribe("dea.*") as one,
        bus.subscribe("dea.>") as rest,
        bus.subscribe("*.a.b") as first,
        bus.subscribe("dea.a") as exact,
    ):
        for subject in ("dea", "dea.a", "dea.a.b", "other.a"):
            peer.publish(subject)
        await peer.flush()
        subscriptions = dict(zip(patterns, (one, rest, first, exact), strict=True))
        for pattern, expected in patterns.items():
            got = await take(subscriptions[pattern], len(expected.split()))
            assert [message.subject for message in got] == expected.split()
        await bus.flush()
        for subscription in subscriptions.values():
            with trio.move_on_after(0.02) as nothing_came:
                await subscription.receive()
            assert nothing_came.cancelled_caught


async def test_every_subscription_gets_its_own_copy(bus: Bus, peer: Bus) -> None:
    """Two subscriptions to one subject, on either connection."""
    async with bus.subscribe("a") as one, bus.subscribe("a") as two, peer.subscribe("a") as three:
        bus.publish("a", b"x")

        for subscription in (one, two, three):
            assert await texts(subscription, 1) == ["x"]


async def test_a_sender_hears_itself(bus: Bus) -> None:
    """There is no difference between one's own messages and those of others."""
    async with bus.subscribe("a") as subscription:
        bus.publish("a", b"x")

        assert await texts(subscription, 1) == ["x"]


async def test_a_queue_group_shares_the_messages(bus: Bus, peer: Bus) -> None:
    """Each goes to one member, all members get some, and others still hear everything."""
    got: dict[str, list[str]] = {"one": [], "two": [], "other": []}
    everything = trio.Event()

    async def collect(name: str, subscription: Subscription) -> None:
        async for message in subscription:
            got[name].append(message.data.decode())
            if len(got["one"]) + len(got["two"]) == 200:
                everything.set()

    async with (
        bus.subscribe("a", queue="q") as one,
        peer.subscribe("a", queue="q") as two,
        bus.subscribe("a", queue="other") as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(collect, "one", one)
        nursery.start_soon(collect, "two", two)
        for number in range(200):
            bus.publish("a", str(number).encode())
        assert await texts(other, 200) == [str(number) for number in range(200)]
        with trio.fail_after(PATIENCE):
            await everything.wait()
        nursery.cancel_scope.cancel()

    assert sorted(got["one"] + got["two"], key=int) == [str(number) for number in range(200)]
    assert len(got["one"]) >= 20
    assert len(got["two"]) >= 20


async def test_request_returns_the_first_answer(bus: Bus, peer: Bus) -> None:
    """Later answers go nowhere; headers travel both ways."""
    async with answering(peer, "svc", queue="svc", answers=3) as asked:
        for number in range(3):
            data = str(number).encode()
            answer = await bus.request("svc", data, timeout=PATIENCE, headers={"Room": "cli"})
            assert answer.data == b"re: " + data
            assert answer.headers == {"Room": "cli"}

    assert [message.data for message in asked] == [b"0", b"1", b"2"]
    assert len({message.reply for message in asked}) == 3


async def test_requests_at_once_get_their_own_answers(bus: Bus, peer: Bus) -> None:
    """Many in flight on one connection."""
    answers: dict[int, bytes] = {}

    async def ask(number: int) -> None:
        answer = await bus.request("svc", str(number).encode(), timeout=PATIENCE)
        answers[number] = answer.data

    async with answering(peer, "svc"), trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, number)

    assert answers == {number: f"re: {number}".encode() for number in range(100)}


async def test_nobody_listening_is_known_at_once(bus: Bus, peer: Bus) -> None:
    """Long before the deadline; also after the last one left."""
    async with peer.subscribe("svc"):
        pass
    await peer.flush()
    with trio.fail_after(PATIENCE), pytest.raises(NoResponders, match="svc"):
        await bus.request("svc", timeout=1000)


async def test_no_answer_in_time_is_a_timeout(bus: Bus, peer: Bus) -> None:
    """Somebody listens but keeps silent."""
    async with peer.subscribe("svc") as silent:
        with pytest.raises(RequestTimeout, match="svc"):
            await bus.request("svc", timeout=0.05)

        assert silent.dropped == 0


async def test_a_request_can_be_cancelled(bus: Bus, peer: Bus) -> None:
    """At once, and the bus goes on; an answer that comes too late goes nowhere."""
    async with peer.subscribe("slow") as slow, answering(peer, "quick"):
        with trio.move_on_after(0.05) as scope:
            await bus.request("slow", timeout=1000)
        assert scope.cancelled_caught
        [late] = await take(slow)
        peer.publish(late.reply, b"too late")

        assert (await bus.request("quick", b"x", timeout=PATIENCE)).data == b"re: x"


async def test_request_many_collects_answers(bus: Bus, peer: Bus) -> None:
    """As many as come while the context is open, from any number of listeners."""
    async with (
        answering(peer, "who", answers=2),
        answering(bus, "who"),
        bus.request_many("who", b"?", headers={"Room": "cli"}) as answers,
    ):
        assert await texts(answers, 3) == ["re: ?"] * 3


async def test_request_many_with_nobody_listening_has_no_answers(bus: Bus) -> None:
    """It is no error, and nothing that looks like an answer comes."""
    async with bus.request_many("who") as answers:
        await bus.flush()
        with trio.move_on_after(0.05) as scope:
            await answers.receive()
    assert scope.cancelled_caught


async def test_observers_see_requests_and_answers(bus: Bus, peer: Bus) -> None:
    """A subscription to everything hears both sides of a conversation."""
    async with answering(peer, "svc"), bus.subscribe(">") as everything:
        await peer.request("svc", b"x", timeout=PATIENCE)

        question, answer = await take(everything, 2)
    assert (question.subject, question.data) == ("svc", b"x")
    assert (answer.subject, answer.data) == (question.reply, b"re: x")


async def test_nothing_comes_after_the_context(bus: Bus, peer: Bus) -> None:
    """Leaving it ends the iteration, also of what was queued."""
    async with bus.subscribe("a") as subscription:
        peer.publish("a")
        await peer.flush()
        await bus.flush()
    assert [message async for message in subscription] == []
    with pytest.raises(BusClosed):
        await subscription.receive()


@pytest.mark.parametrize("subject", ["", "a..b", ".a", "a b", "a\r\nPING", "a.*", ">"])
async def test_bad_subjects_are_refused(bus: Bus, subject: str) -> None:
    """By the sender, before anything is sent: as subject, as reply, and in a request."""
    with pytest.raises(BadSubject):
        bus.publish(subject)
    if subject:
        with pytest.raises(BadSubject):
            bus.publish("a", reply=subject)
    with pytest.raises(BadSubject):
        await bus.request(subject, timeout=1)
    with pytest.raises(BadSubject):
        async with bus.request_many(subject):
            pass


@pytest.mark.parametrize(("pattern", "queue"), [("a.>.b", ""), ("a..b", ""), ("a", "q q")])
async def test_bad_subscriptions_are_refused(bus: Bus, pattern: str, queue: str) -> None:
    """Misplaced wildcards, empty tokens, white space in the group."""
    with pytest.raises(BadSubject):
        async with bus.subscribe(pattern, queue=queue):
            pass


async def test_bad_headers_are_refused(bus: Bus) -> None:
    """They could begin another header, or a command."""
    with pytest.raises(BadHeader):
        bus.publish("a", headers={"Name": "x\r\nOther: y"})


async def test_payload_has_a_limit(bus: Bus, peer: Bus) -> None:
    """The most that fits arrives; one byte more is refused, and nothing breaks."""
    async with peer.subscribe("a") as subscription:
        bus.publish("a", bytes(MAX_PAYLOAD))
        with pytest.raises(PayloadTooLarge):
            bus.publish("a", bytes(MAX_PAYLOAD + 1))
        with pytest.raises(PayloadTooLarge):
            bus.publish("a", bytes(MAX_PAYLOAD - 5), headers={"Name": "value"})
        with pytest.raises(PayloadTooLarge):
            await bus.request("a", bytes(MAX_PAYLOAD + 1), timeout=1)
        bus.publish("a", b"after")

        assert [len(message.data) for message in await take(subscription, 2)] == [MAX_PAYLOAD, 5]


async def test_a_slow_subscriber_is_counted_not_waited_for(bus: Bus) -> None:
    """Its queue is bounded; what does not fit is lost to it alone, and `dropped` says so."""
    async with bus.subscribe("a") as slow:
        for _ in range(12_000):
            bus.publish("a", b"x")
        async with bus.subscribe("end") as end:
            bus.publish("end")
            await take(end)

        assert slow.dropped == 2_000
        assert len(await take(slow, 10_000)) == 10_000


async def test_a_slow_subscriber_may_have_itself_cut_off(bus: Bus) -> None:
    """What was queued before is received, then it ends: nothing is missed without a word."""
    async with bus.subscribe("a", when_slow="close") as slow, bus.subscribe("a") as other:
        for _ in range(10_001):
            bus.publish("a", b"x")
        async with bus.subscribe("end") as end:
            bus.publish("end")
            await take(end)

        with trio.fail_after(PATIENCE):
            assert len([message async for message in slow]) == 10_000
        assert (slow.dropped, other.dropped) == (1, 1)
        with pytest.raises(BusClosed):
            await slow.receive()


async def test_closing_hands_out_what_is_queued(pair: Pair) -> None:
    """Then iteration ends, and everything else says that the bus is closed."""
    bus, peer = pair
    async with bus.subscribe("a") as subscription:
        for number in range(100):
            peer.publish("a", str(number).encode())
        await peer.flush()
        await bus.flush()
        await bus.aclose()

        with trio.fail_after(PATIENCE):
            got = [message.data.decode() async for message in subscription]
        assert got == [str(number) for number in range(100)]
    with pytest.raises(BusClosed):
        bus.publish("a")
    with pytest.raises(BusClosed):
        await bus.request("a", timeout=1)
    with pytest.raises(BusClosed):
        async with bus.subscribe("a"):
            pass
    with pytest.raises(BusClosed):
        await bus.flush()
    await bus.aclose()


async def test_closing_wakes_those_who_wait(pair: Pair) -> None:
    """A receiver's loop ends, a requester is told."""
    bus, peer = pair
    ended: list[str] = []

    async def loop(task_status: trio.TaskStatus[None]) -> None:
        async with bus.subscribe("a") as subscription:
            task_status.started()
            async for _ in subscription:
                pass
        ended.append("loop")

    async def ask() -> None:
        with pytest.raises(BusClosed):
            await bus.request("silent", timeout=1000)
        ended.append("request")

    async with peer.subscribe("silent") as silent:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await nursery.start(loop)
                nursery.start_soon(ask)
                await take(silent)
                await bus.aclose()
    assert sorted(ended) == ["loop", "request"]


async def test_published_before_closing_is_not_lost(opened: Any) -> None:
    """Closing comes after what was published."""
    async with opened() as (bus, peer), peer.subscribe("a") as subscription:
        for number in range(500):
            bus.publish("a", str(number).encode())
        await bus.aclose()
        if bus is peer:
            got = [message.data.decode() async for message in subscription]
        else:
            got = await texts(subscription, 500)
        assert got == [str(number) for number in range(500)]
