"""What really runs, as the DEAs tell it: the table behind every process's stats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import trio

from appliance.dea.messages import DropletExited, Heartbeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One instance of a process, as last heard of."""

    process: str  # guid of the process: the wire's ``droplet``
    version: str
    guid: str
    index: int
    state: str  # STARTING RUNNING CRASHED
    since: float  # seconds since 1970
    routable: bool = False  # requests may go to it
    dea: str = ""
    details: str | None = None  # why it crashed or does not start

    @property
    def run(self) -> int:
        """Which start of its process it belongs to; the end of the wire's SHA-RUN."""
        number = self.version.rpartition("-")[2]
        return int(number) if number.isdecimal() else 0


STEADY = 300.0  # seconds that an instance runs after which its earlier crashes count no more
ENDED_KEPT = 10_000  # instances that ended and are known to have done so


@dataclass
class Actual:
    """Live instances by guid, and the last crash of each index.

    Times named *now* are seconds on trio's clock.

    Args:
      silence: Seconds without a word after which an instance is lost.
    """

    silence: float = 25.0

    live: dict[str, Instance] = field(default_factory=dict)
    seen_at: dict[str, float] = field(default_factory=dict)  # instance guid: *now* of its last word
    crashed: dict[tuple[str, int], Instance] = field(default_factory=dict)
    crashes: dict[tuple[str, int], int] = field(default_factory=dict)  # in a row, of each index
    refused: dict[str, str] = field(default_factory=dict)  # process: why no DEA takes it
    unheard: set[str] = field(default_factory=set)  # instance guids: ordered, and no word since
    _ended: dict[str, None] = field(default_factory=dict)  # instance guids, oldest first
    _changed: trio.Event = field(default_factory=trio.Event)

    def ordered(self, instance: Instance, now: float) -> None:
        """A DEA was told to start *instance*: it counts, until it is heard of or stays silent."""
        self.unheard.add(instance.guid)
        self._keep(instance, now)

    def heard(self, heartbeat: Heartbeat, now: float) -> None:
        """Take in what a DEA says of all, or of one, of its instances."""
        for item in heartbeat.droplets:
            # Exits and heartbeats are heard by different tasks: one may overtake the other.
            if item.state not in ("STARTING", "RUNNING") or item.instance in self._ended:
                continue
            self.seen_at[item.instance] = now
            self.unheard.discard(item.instance)
            known = self.live.get(item.instance)
            # A DEA of 2012 knows no readiness: what runs takes requests.
            routable = item.state == "RUNNING" if item.routable is None else item.routable
            if known and (known.state, known.routable) == (item.state, routable):
                continue
            instance = Instance(
                process=item.droplet,
                version=item.version,
                guid=item.instance,
                index=item.index,
                state=item.state,
                since=item.state_timestamp,
                routable=routable,
                dea=heartbeat.dea,
            )
            if item.state == "RUNNING":
                self.crashed.pop((item.droplet, item.index), None)
            self._keep(instance, now)

    def exited(self, message: DropletExited) -> None:
        """Forget an instance that ended; keep why, when it crashed."""
        self._ended[message.instance] = None
        while len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        gone = self.live.pop(message.instance, None)
        self.seen_at.pop(message.instance, None)
        self.unheard.discard(message.instance)
        if message.reason == "CRASHED":
            self._count_crash(message, gone)
            self.crashed[message.droplet, message.index] = Instance(
                process=message.droplet,
                version=message.version,
                guid=message.instance,
                index=message.index,
                state="CRASHED",
                since=message.crash_timestamp or 0,
                dea=gone.dea if gone else "",
                details=message.exit_description,
            )
        self._notify()

    def _count_crash(self, message: DropletExited, gone: Instance | None) -> None:
        key, ended = (message.droplet, message.index), message.crash_timestamp or 0
        steady = gone is not None and gone.state == "RUNNING" and ended - gone.since > STEADY
        self.crashes[key] = 1 if steady else self.crashes.get(key, 0) + 1

    def refuse(self, process: str, why: str) -> None:
        """No DEA takes *process* at the moment."""
        self.refused[process] = why
        self._notify()

    def forget(self, process: str) -> None:
        """The process is stopped or gone: its crashes are history."""
        for key in [key for key in self.crashes if key[0] == process]:
            del self.crashes[key]
            self.crashed.pop(key, None)
        self.refused.pop(process, None)
        self._notify()

    def prune(self, now: float) -> list[Instance]:
        """Forget what nobody spoke of for too long; returns it."""
        lost = [i for i in self.live.values() if now - self.seen_at[i.guid] > self.silence]
        for instance in lost:
            self._drop(instance)
        if lost:
            self._notify()
        return lost

    def forget_unheard(self, before: float) -> list[Instance]:
        """Forget what was ordered *before* then, and never heard of; returns it.

        After an outage of the bus: DEAs have said again what they run, and the orders for the
        others were lost.
        """
        lost = [self.live[guid] for guid in self.unheard if self.seen_at[guid] < before]
        for instance in lost:
            self._drop(instance)
        if lost:
            self._notify()
        return lost

    def of(self, process: str) -> list[Instance]:
        """Live instances of *process*, by index, the RUNNING ones of an index first."""
        mine = [i for i in self.live.values() if i.process == process]
        return sorted(mine, key=lambda i: (i.index, i.state != "RUNNING"))

    def seen(self, process: str, wanted: int, run: int) -> list[Instance]:
        """What clients are shown of the *run*-th run: one entry for each index below *wanted*.

        Instances of the run before, which are on their way out, would make a restart look
        done before it has begun.

        An index that crashed and starts again is shown CRASHED until it runs, so that a
        client that looks now and then does not take a crash loop for a slow start.
        """
        by_index: dict[int, Instance] = {}
        for instance in self.of(process):
            if instance.run == run:
                by_index.setdefault(instance.index, instance)
        why = self.refused.get(process)
        down = Instance(
            process=process, version="", guid="", index=0, state="DOWN", since=0, details=why
        )
        shown = []
        for index in range(wanted):
            known = by_index.get(index)
            crash = self.crashed.get((process, index))
            if (
                crash is not None
                and crash.run == run
                and (known is None or known.state != "RUNNING")
            ):
                shown.append(crash)
            elif known is not None:
                shown.append(known)
            else:
                shown.append(replace(down, index=index))
        return shown

    @property
    def changed(self) -> trio.Event:
        """Set at the next change. Take it *before* looking, and no change is missed."""
        return self._changed

    def wake(self) -> None:
        """Let those who wait look again: what is desired has changed."""
        self._notify()

    def _drop(self, instance: Instance) -> None:
        del self.live[instance.guid], self.seen_at[instance.guid]
        self.unheard.discard(instance.guid)

    def _keep(self, instance: Instance, now: float) -> None:
        self.live[instance.guid] = instance
        self.seen_at[instance.guid] = now
        self.refused.pop(instance.process, None)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
