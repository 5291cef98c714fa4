"""The local bus beside a plain model of it: lists, loops, and no trie."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from appliance.kernel.bus import BusClosed, Message, NoResponders, PayloadTooLarge, RequestTimeout
from appliance.kernel.bus.headers import size_of_headers
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.bus.mailbox import Mailbox

MAX_PAYLOAD = 60
MAX_MESSAGES = 4
MAX_BYTES = 100
TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=3).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(TOKENS | st.just("*"), min_size=1, max_size=3),
    st.sampled_from([[], [">"]]),
) | st.just(">")
QUEUES = st.sampled_from(["", "", "q", "r"])
SIZES = st.integers(0, MAX_PAYLOAD + 3)
HEADERS = st.sampled_from([None, {"A": "1"}])


def matches(pattern: str, subject: str) -> bool:
    """By the rule's own words, token by token."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, given = wanted[:-1], given[: len(wanted) - 1] if len(given) >= len(wanted) else []
        if not wanted:
            return True
    return len(wanted) == len(given) and all(
        one in ("*", other) for one, other in zip(wanted, given, strict=True)
    )


@dataclass(eq=False)
class Member:
    """One subscription: the real one, and what the model says is in its queue."""

    pattern: str
    queue: str
    mailbox: Mailbox
    queued: deque[tuple[bytes, int]] = field(default_factory=deque)
    dropped: int = 0

    def put(self, data: bytes, size: int) -> None:
        held = sum(one for _, one in self.queued)
        if len(self.queued) < MAX_MESSAGES and held + size <= MAX_BYTES:
            self.queued.append((data, size))
        else:
            self.dropped += 1


class BusBesideModel(RuleBasedStateMachine):
    """Subscribe, leave, publish, receive, ask; after each step both agree."""

    members = Bundle("members")

    def __init__(self) -> None:
        super().__init__()
        self.bus = LocalBus(max_payload=MAX_PAYLOAD)
        self.model: list[Member] = []
        self.sent = 0

    @rule(target=members, pattern=PATTERNS, queue=QUEUES)
    def subscribe(self, pattern: str, queue: str) -> Member:
        mailbox = Mailbox(max_messages=MAX_MESSAGES, max_bytes=MAX_BYTES)
        member = Member(pattern, queue, mailbox)
        self.bus.attach(mailbox, pattern, queue=queue)
        self.model.append(member)
        return member

    @rule(member=consumes(members))
    def leave(self, member: Member) -> None:
        self.bus.detach(member.mailbox, member.pattern, queue=member.queue)
        self.model.remove(member)

    @rule(subject=SUBJECTS, size=SIZES, headers=HEADERS)
    def publish(self, subject: str, size: int, headers: dict[str, str] | None) -> None:
        self.sent += 1
        data = (b"%d." % self.sent).ljust(size, b".")[: max(size, 0)]
        whole = len(data) + (size_of_headers(headers) if headers else 0)
        if whole > MAX_PAYLOAD:
            with pytest.raises(PayloadTooLarge):
                self.bus.publish(subject, data, headers=headers)
            return
        before = {member: len(member.mailbox._queue) for member in self.model}
        lost = {member: member.mailbox.dropped for member in self.model}
        self.bus.publish(subject, data, headers=headers)
        groups: dict[str, list[Member]] = defaultdict(list)
        for member in self.model:
            if not matches(member.pattern, subject):
                continue
            if member.queue:
                groups[member.queue].append(member)
            else:
                member.put(data, whole)
        for group in groups.values():
            # Which one is the bus's choice; that it is one, and one of the least busy, is not.
            chosen = [
                member
                for member in group
                if len(member.mailbox._queue) > before[member]
                or member.mailbox.dropped > lost[member]
            ]
            assert len(chosen) == 1
            assert before[chosen[0]] == min(before[member] for member in group)
            chosen[0].put(data, whole)

    @rule(member=members)
    def receive(self, member: Member) -> None:
        if not member.queued:
            return

        async def one() -> Message:
            return await member.mailbox.receive()

        data, _ = member.queued.popleft()
        assert trio.run(one).data == data

    @rule(subject=SUBJECTS)
    def ask(self, subject: str) -> None:
        """Nobody answers here; but whether somebody listens is known at once."""
        heard = any(matches(member.pattern, subject) for member in self.model)

        async def one() -> None:
            await self.bus.request(subject, b"", timeout=0)

        before = {member: len(member.mailbox._queue) for member in self.model}
        with pytest.raises(RequestTimeout if heard else NoResponders):
            trio.run(one)
        for member in self.model:  # the question was heard like any message
            if len(member.mailbox._queue) > before[member]:
                member.put(b"", 0)
            else:
                member.dropped = member.mailbox.dropped

    @invariant()
    def agree(self) -> None:
        for member in self.model:
            assert [one.data for one, _ in member.mailbox._queue] == [d for d, _ in member.queued]
            assert member.mailbox.dropped == member.dropped
        listed = sorted((pattern, queue) for pattern, queue, _ in self.bus.subscriptions())
        assert listed == sorted((member.pattern, member.queue) for member in self.model)

    def teardown(self) -> None:
        for member in self.model:
            self.bus.detach(member.mailbox, member.pattern, queue=member.queue)
        assert not list(self.bus.subscriptions())
        trio.run(self.bus.aclose)
        with pytest.raises(BusClosed):
            self.bus.publish("a")


TestBusBesideModel = BusBesideModel.TestCase
TestBusBesideModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
