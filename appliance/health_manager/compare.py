"""What should run against what does, and the orders that follow. Pure.

Times named *now* are seconds on one monotonic clock; *wall* is seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.config import HealthManagerConfig
from appliance.dea.messages import DropletExited, Heartbeat
from appliance.health_manager.messages import Order

LIVE = ("STARTING", "RUNNING")
STABLE = 60.0  # seconds of running after which earlier crashes are forgiven
ORDER_AGAIN = 10.0  # seconds before an order that had no effect is repeated
ENDED_KEPT = 10_000  # instances that are known to have ended


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """What the controller wants of one droplet."""

    instances: int
    version: str
    updated_at: float = 0.0  # wall


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One live instance, as a DEA told of it."""

    droplet: str
    version: str
    index: int
    state: str
    since: float  # now, when it came into this state
    heard_at: float  # now, when it was last spoken of


@dataclass(frozen=True, kw_only=True, slots=True)
class Crashes:
    """Crashes in a row of one index."""

    count: int
    last: float  # now
    due: float  # now, when it may start again
    instance: str  # the last one that crashed


Key = tuple[str, str, int]  # droplet, version, index


@dataclass
class Picture:
    """All that the health manager knows."""

    config: HealthManagerConfig
    desired: dict[str, Desired] = field(default_factory=dict)
    once_desired: set[str] = field(default_factory=set)
    seen: dict[str, Seen] = field(default_factory=dict)  # by instance
    crashes: dict[Key, Crashes] = field(default_factory=dict)
    missing_since: dict[Key, float] = field(default_factory=dict)
    extra_since: dict[str, float] = field(default_factory=dict)  # by instance
    ordered_at: dict[Key, float] = field(default_factory=dict)
    _ended: dict[str, None] = field(default_factory=dict)

    def wanted(self, desired: Mapping[str, Desired]) -> None:
        """Take in the controller's whole desired state."""
        self.desired = dict(desired)
        self.once_desired |= desired.keys()
        current = {(droplet, one.version) for droplet, one in desired.items()}
        for kept in (self.crashes, self.missing_since, self.ordered_at):
            for key in [key for key in kept if key[:2] not in current]:
                del kept[key]

    def heard(self, heartbeat: Heartbeat, now: float) -> None:
        """Take in what a DEA says of its instances."""
        for item in heartbeat.droplets:
            # Exits and heartbeats travel separately: one may overtake the other.
            if item.state not in LIVE or item.instance in self._ended:
                continue
            known = self.seen.get(item.instance)
            self.seen[item.instance] = Seen(
                droplet=item.droplet,
                version=item.version,
                index=item.index,
                state=item.state,
                since=known.since if known and known.state == item.state else now,
                heard_at=now,
            )

    def exited(self, message: DropletExited, now: float) -> None:
        """Take in the end of an instance; after a crash its index waits ever longer."""
        gone = self.seen.pop(message.instance, None)
        self._ended[message.instance] = None
        if len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        if message.reason != "CRASHED":
            return
        key = (message.droplet, message.version, message.index)
        ran = now - gone.since if gone and gone.state == "RUNNING" else 0.0
        before = self.crashes.get(key)
        count = before.count + 1 if before and ran < STABLE else 1
        delay = min(self.config.restart_first * 2 ** (count - 1), self.config.restart_most)
        self.crashes[key] = Crashes(
            count=count, last=now, due=now + delay, instance=message.instance
        )
        self.ordered_at.pop(key, None)

    def compare(self, now: float, wall: float) -> list[Order]:
        """The orders that are due now. Call again at `next_due`."""
        self._forget_silent(now)
        present = self._present()
        orders = []
        for droplet, desired in sorted(self.desired.items()):
            if indices := self._due(droplet, desired, present, now, wall):
                flapping = any(self._flaps((droplet, desired.version, i)) for i in indices)
                orders.append(
                    Order(
                        op="START",
                        droplet=droplet,
                        version=desired.version,
                        indices=indices,
                        last_updated=int(desired.updated_at),
                        flapping=flapping or None,
                    )
                )
        return orders + self._stops(now, wall)

    def next_due(self, now: float) -> float | None:
        """When, on *now*'s clock, `compare` may have something new to say; None for never."""
        grace = self.config.grace
        present = self._present()
        times = [crash.due for key, crash in self.crashes.items() if key not in present]
        times += [since + grace for since in self.missing_since.values()]
        times += [since + grace for since in self.extra_since.values()]
        times += [at + ORDER_AGAIN for at in self.ordered_at.values()]
        if self.seen:  # the one that would be lost first
            times.append(min(one.heard_at for one in self.seen.values()) + self.config.dea_timeout)
        return min((time for time in times if time > now), default=None)

    def flapping(self, droplet: str, version: str) -> list[tuple[int, float]]:
        """Index and time of the last crash of those that crash again and again."""
        return [
            (key[2], crash.last)
            for key, crash in sorted(self.crashes.items())
            if key[:2] == (droplet, version) and self._flaps(key)
        ]

    def running(self, droplet: str, version: str) -> int:
        """How many instances run."""
        return sum(
            one.state == "RUNNING" and (one.droplet, one.version) == (droplet, version)
            for one in self.seen.values()
        )

    def _due(
        self, droplet: str, desired: Desired, present: set[Key], now: float, wall: float
    ) -> list[int]:
        settled = wall - desired.updated_at >= self.config.grace
        due = []
        for index in range(desired.instances):
            key = (droplet, desired.version, index)
            if key in present:
                self.missing_since.pop(key, None)
                self.ordered_at.pop(key, None)
                continue
            since = self.missing_since.setdefault(key, now)
            crash = self.crashes.get(key)
            # The controller starts things itself: only what stays away is ordered.
            ready = now >= crash.due if crash else settled and now - since >= self.config.grace
            if ready and now - self.ordered_at.get(key, -ORDER_AGAIN) >= ORDER_AGAIN:
                self.ordered_at[key] = now
                due.append(index)
        return due

    def _stops(self, now: float, wall: float) -> list[Order]:
        extra: dict[str, list[str]] = {}
        for instance, one in self.seen.items():
            if not self._is_extra(one, wall):
                self.extra_since.pop(instance, None)
            elif now - self.extra_since.setdefault(instance, now) >= self.config.grace:
                extra.setdefault(one.droplet, []).append(instance)
                self.extra_since[instance] = now  # asked for again after another grace
        for instance in [i for i in self.extra_since if i not in self.seen]:
            del self.extra_since[instance]
        return [
            Order(op="STOP", droplet=droplet, instances=sorted(instances))
            for droplet, instances in sorted(extra.items())
        ]

    def _is_extra(self, one: Seen, wall: float) -> bool:
        desired = self.desired.get(one.droplet)
        if desired is None:
            # What the controller never knew is somebody else's, and left alone.
            return one.droplet in self.once_desired
        if wall - desired.updated_at < self.config.grace:
            return False
        return one.version != desired.version or one.index >= desired.instances

    def _present(self) -> set[Key]:
        return {(one.droplet, one.version, one.index) for one in self.seen.values()}

    def _flaps(self, key: Key) -> bool:
        crash = self.crashes.get(key)
        return crash is not None and crash.count >= self.config.flapping_after

    def _forget_silent(self, now: float) -> None:
        limit = self.config.dea_timeout
        for instance in [i for i, one in self.seen.items() if now - one.heard_at >= limit]:
            del self.seen[instance]


def parse(results: Mapping[str, Mapping[str, object]]) -> Iterable[tuple[str, Desired]]:
    """``results`` of ``/bulk/apps`` as desired states; stopped apps want no instances."""
    for droplet, about in results.items():
        started = about.get("state") == "STARTED" and about.get("package_state") == "STAGED"
        yield (
            droplet,
            Desired(
                instances=int(str(about["instances"])) if started else 0,
                version=str(about["version"]),
                updated_at=float(str(about.get("updated_at") or 0)),
            ),
        )
