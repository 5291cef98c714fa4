"""What only the local bus promises: bounds, balance, and hand-over without loss."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.kernel.bus import PayloadTooLarge, RequestTimeout, Subscription
from appliance.kernel.bus.local import INBOX, MAX_ROUTES, LocalBus


async def received(subscription: Subscription, count: int) -> list[bytes]:
    """The next *count* messages' data, all within a second."""
    with trio.fail_after(1):
        return [(await subscription.receive()).data for _ in range(count)]


async def test_queue_is_bounded_by_messages() -> None:
    """The newest are dropped and counted, the oldest stay in order."""
    bus = LocalBus(queue_messages=3)
    async with bus.subscribe("a") as slow:
        for number in range(5):
            bus.publish("a", b"%d" % number)

        assert slow.dropped == 2
        assert await received(slow, 3) == [b"0", b"1", b"2"]


async def test_queue_is_bounded_by_bytes() -> None:
    """Data and headers count; there is room again once messages were received."""
    bus = LocalBus(queue_bytes=100)
    async with bus.subscribe("a") as slow:
        bus.publish("a", bytes(60))
        bus.publish("a", bytes(60))
        bus.publish("a", b"", headers={"Name": "x" * 40})
        assert slow.dropped == 2

        await received(slow, 1)
        bus.publish("a", bytes(100))
        assert slow.dropped == 2
        assert await received(slow, 1) == [bytes(100)]


async def test_a_slow_subscriber_does_not_cost_the_others() -> None:
    """Each subscription has a queue of its own."""
    bus = LocalBus(queue_messages=1)
    async with bus.subscribe("a") as slow, bus.subscribe("a") as quick:
        for number in range(10):
            bus.publish("a", b"%d" % number)
            assert await received(quick, 1) == [b"%d" % number]

        assert (slow.dropped, quick.dropped) == (9, 0)


async def test_limit_of_the_payload_is_exact() -> None:
    """Headers count, and what is refused reaches nobody."""
    bus = LocalBus(max_payload=40)
    async with bus.subscribe("a") as subscription:
        bus.publish("a", bytes(40))
        with pytest.raises(PayloadTooLarge):
            bus.publish("a", bytes(41))
        with pytest.raises(PayloadTooLarge):
            bus.publish("a", bytes(30), headers={"Name": "value"})

        assert await received(subscription, 1) == [bytes(40)]
        assert subscription.dropped == 0


async def test_queue_group_prefers_idle_members() -> None:
    """A member with work left gets nothing while another one waits."""
    bus = LocalBus()
    got: list[str] = []

    async def member(name: str, task_status: trio.TaskStatus[None]) -> None:
        async with bus.subscribe("work", queue="workers") as subscription:
            task_status.started()
            got.extend([name async for _ in subscription])

    async with trio.open_nursery() as nursery, bus.subscribe("work", queue="workers") as busy:
        await nursery.start(member, "idle")
        for _ in range(10):
            await trio.testing.wait_all_tasks_blocked()
            bus.publish("work")
        await trio.testing.wait_all_tasks_blocked()
        await bus.aclose()
        left = [message async for message in busy]

    assert got == ["idle"] * 10
    assert left == []


async def test_queue_group_spreads_a_burst_evenly() -> None:
    """Members that are equally busy take turns."""
    bus = LocalBus()
    async with (
        bus.subscribe("work", queue="workers") as one,
        bus.subscribe("work", queue="workers") as two,
        bus.subscribe("work", queue="workers") as three,
    ):
        for _ in range(30):
            bus.publish("work")
        await bus.aclose()

        shares = [len([message async for message in member]) for member in (one, two, three)]
    assert shares == [10, 10, 10]


async def test_members_of_a_group_may_use_different_patterns() -> None:
    """As in a NATS server, the group is the name: one member gets each message."""
    bus = LocalBus()
    async with bus.subscribe("a.*", queue="q") as one, bus.subscribe("a.>", queue="q") as two:
        for _ in range(10):
            bus.publish("a.b")
        await bus.aclose()

        assert len([m async for m in one]) + len([m async for m in two]) == 10


async def test_a_message_is_not_lost_when_its_receiver_is_cancelled() -> None:
    """What was handed to a task that is being cancelled is either received or still queued."""
    bus = LocalBus()
    got: list[bytes] = []

    async def receive_one(scope: trio.CancelScope) -> None:
        with scope:
            got.append((await subscription.receive()).data)

    for cancel_first in (True, False):
        async with bus.subscribe("a") as subscription:
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive_one, scope)
                await trio.testing.wait_all_tasks_blocked()
                if cancel_first:
                    scope.cancel()
                bus.publish("a", b"1")
                scope.cancel()
            await bus.flush()
            if not got:
                got += await received(subscription, 1)
        assert got == [b"1"]
        got.clear()


async def test_every_task_of_a_subscription_wakes_when_it_ends() -> None:
    """Several tasks may share one subscription; each message goes to one of them."""
    bus = LocalBus()
    got: list[bytes] = []

    async def worker(subscription: Subscription) -> None:
        got.extend([message.data async for message in subscription])

    with trio.fail_after(1):
        async with bus.subscribe("a") as shared, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(worker, shared)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                bus.publish("a", b"%d" % number)
            await bus.aclose()

    assert sorted(got) == [b"0", b"1", b"2", b"3", b"4"]


async def test_new_subscribers_are_heard_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """What was remembered about a subject is forgotten when somebody subscribes or leaves."""
    bus = LocalBus()
    bus.publish("a.b")
    async with bus.subscribe("a.*") as first:
        bus.publish("a.b", b"1")
        async with bus.subscribe("a.b") as second:
            bus.publish("a.b", b"2")
            assert await received(second, 1) == [b"2"]
        bus.publish("a.b", b"3")
        assert await received(first, 3) == [b"1", b"2", b"3"]
    bus.publish("a.b")


async def test_requests_time_out_on_time(autojump_clock: trio.testing.MockClock) -> None:
    """Not before, and nothing is left behind."""
    bus = LocalBus()
    async with bus.subscribe("a"):
        began = trio.current_time()
        with pytest.raises(RequestTimeout, match=r"No answer from a within 2.5 s\."):
            await bus.request("a", timeout=2.5)
        assert trio.current_time() - began == 2.5
        with pytest.raises(RequestTimeout):
            await bus.request("a", timeout=0)

    assert bus._inboxes == {}


async def test_memory_does_not_grow_with_the_subjects_that_were_used() -> None:
    """Inboxes are not remembered, and only so many other subjects are."""
    bus = LocalBus()
    async with bus.subscribe("a.>"):
        for number in range(MAX_ROUTES + 100):
            bus.publish(f"a.{number}")
            bus.publish(f"{INBOX}{number}")

    for number in range(MAX_ROUTES + 100):
        bus.publish(f"a.{number}")
    assert len(bus._routes) <= MAX_ROUTES
    assert not any(subject.startswith(INBOX) for subject in bus._routes)
    assert not bus._subscribers
    assert not bus._mailboxes
