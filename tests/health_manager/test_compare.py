"""Which orders follow from what is desired, what runs, and what crashed."""

from __future__ import annotations

import pytest

from appliance.config import HealthManagerConfig
from appliance.dea.messages import DropletExited, Heartbeat, HeartbeatInstance
from appliance.health_manager.compare import Desired, Picture, parse
from appliance.health_manager.messages import Order

CONFIG = HealthManagerConfig(
    grace=3, restart_first=1, restart_most=8, flapping_after=3, dea_timeout=25
)
LONG_AGO = -1000.0  # wall: settled for long


def beat(*instances: tuple[str, int], state: str = "RUNNING", version: str = "v1") -> Heartbeat:
    """A heartbeat of droplet "a" with these (instance, index)."""
    droplets = [
        HeartbeatInstance(
            droplet="a", version=version, instance=name, index=index, state=state, state_timestamp=0
        )
        for name, index in instances
    ]
    return Heartbeat(droplets=droplets, dea="d")


def crash(instance: str, index: int = 0, reason: str = "CRASHED") -> DropletExited:
    """An exit of droplet "a"."""
    return DropletExited(droplet="a", version="v1", instance=instance, index=index, reason=reason)


def picture(instances: int = 1, updated_at: float = LONG_AGO) -> Picture:
    """Droplet "a" is wanted in version v1."""
    made = Picture(CONFIG)
    made.wanted({"a": Desired(instances=instances, version="v1", updated_at=updated_at)})
    return made


def start(*indices: int, flapping: bool | None = None) -> Order:
    """The order to start these."""
    return Order(op="START", droplet="a", version="v1", indices=list(indices),
                 last_updated=int(LONG_AGO), flapping=flapping)  # fmt: skip


def test_all_is_well() -> None:
    """What runs as desired is left alone."""
    seen = picture(2)
    seen.heard(beat(("i0", 0), ("i1", 1)), now=0)

    assert seen.compare(now=10, wall=10) == []


def test_starting_counts_as_there() -> None:
    """An instance on its way is not ordered again."""
    seen = picture()
    seen.heard(beat(("i0", 0), state="STARTING"), now=0)

    assert seen.compare(now=10, wall=10) == []


def test_missing_is_ordered_after_the_grace() -> None:
    """The controller starts things itself: only what stays away is ordered, and once."""
    seen = picture(2)
    seen.heard(beat(("i0", 0)), now=0)

    assert seen.compare(now=0, wall=0) == []
    assert seen.next_due(0) == 3
    assert seen.compare(now=2.9, wall=3) == []
    assert seen.compare(now=3, wall=3) == [start(1)]
    assert seen.compare(now=4, wall=4) == []
    assert seen.compare(now=13, wall=13) == [start(1)]


def test_a_dea_that_falls_silent_is_noticed_in_time() -> None:
    """At its timeout, and not only when something else makes the manager look."""
    seen = picture()
    seen.heard(beat(("i0", 0)), now=0)

    assert seen.next_due(10) == 25
    assert seen.compare(now=24.9, wall=24.9) == []
    assert seen.compare(now=25, wall=25) == []
    assert seen.next_due(25) == 28
    assert seen.compare(now=28, wall=28) == [start(0)]


def test_a_fresh_change_is_left_to_the_controller() -> None:
    """An app that was changed a moment ago is just being started."""
    seen = picture(updated_at=9)

    assert seen.compare(now=0, wall=9) == []
    assert seen.compare(now=2, wall=11) == []
    assert [order.op for order in seen.compare(now=4, wall=13)] == ["START"]


def test_crashes_wait_ever_longer() -> None:
    """1, 2, 4, 8 and then always 8 seconds; from the third crash on it is flapping."""
    seen = picture()
    now = 0.0
    for number, delay in enumerate([1, 2, 4, 8, 8], start=1):
        seen.heard(beat((f"i{number}", 0)), now)
        seen.exited(crash(f"i{number}"), now)
        assert seen.compare(now + delay - 0.1, LONG_AGO + 5000) == []
        now += delay
        assert seen.compare(now, LONG_AGO + 5000) == [start(0, flapping=number >= 3 or None)]

    assert [index for index, _ in seen.flapping("a", "v1")] == [0]


def test_running_for_long_forgives() -> None:
    """A crash after a minute of running counts as the first."""
    seen = picture()
    for number in range(4):
        seen.exited(crash(f"x{number}"), now=0)
    seen.heard(beat(("i", 0)), now=10)
    seen.exited(crash("i"), now=80)

    assert seen.compare(now=81, wall=81) == [start(0)]


def test_a_stop_is_no_crash() -> None:
    """An instance that was stopped is missing, not crashed."""
    seen = picture()
    seen.heard(beat(("i", 0)), now=0)
    seen.exited(crash("i", reason="STOPPED"), now=0)

    assert seen.crashes == {}
    assert seen.compare(now=0, wall=0) == []
    assert seen.compare(now=3, wall=3) == [start(0)]


def test_an_exit_may_overtake_a_heartbeat() -> None:
    """A heartbeat that comes after the exit of its instance does not bring it back."""
    seen = picture()
    seen.exited(crash("i"), now=0)
    seen.heard(beat(("i", 0)), now=0)

    assert seen.seen == {}


@pytest.mark.parametrize(
    ("beaten", "why"),
    [
        (beat(("i0", 0), ("i5", 5)), "its index is too high"),
        (beat(("i0", 0), ("i5", 5), version="v0"), "it is an old version"),
    ],
)
def test_extras_are_stopped(beaten: Heartbeat, why: str) -> None:
    """After the grace, since the controller stops them itself."""
    seen = picture()
    seen.heard(beat(("i0", 0)), now=0)
    seen.heard(Heartbeat(droplets=[beaten.droplets[1]], dea="d"), now=0)
    seen.compare(now=0, wall=0)

    orders = seen.compare(now=3, wall=3)

    assert orders == [Order(op="STOP", droplet="a", instances=["i5"])], why


def test_deleted_apps_are_stopped_strangers_are_not() -> None:
    """What was desired once is ours; what never was belongs to somebody else."""
    seen = picture()
    seen.heard(beat(("i0", 0)), now=0)
    stranger = HeartbeatInstance(
        droplet="b", version="v", instance="s", index=0, state="RUNNING", state_timestamp=0
    )
    seen.heard(Heartbeat(droplets=[stranger], dea="d"), now=0)
    seen.wanted({})
    seen.compare(now=0, wall=0)

    assert seen.compare(now=3, wall=3) == [Order(op="STOP", droplet="a", instances=["i0"])]


def test_a_silent_dea_is_lost() -> None:
    """Its instances are missing after the time-out, and ordered after the grace."""
    seen = picture()
    seen.heard(beat(("i", 0)), now=0)

    assert seen.compare(now=25, wall=25) == []
    assert seen.compare(now=26, wall=26) == []
    assert seen.compare(now=29, wall=29) == [start(0)]


def test_a_new_version_forgets_the_old_ones_crashes() -> None:
    """The crashes of v1 are no reason to hold v2 back."""
    seen = picture()
    seen.exited(crash("i"), now=0)
    seen.wanted({"a": Desired(instances=1, version="v2", updated_at=LONG_AGO)})

    assert seen.crashes == {}


def test_bulk_results_are_read() -> None:
    """Stopped and unstaged apps want nothing."""
    results: dict[str, dict[str, object]] = {
        "a": {"instances": 2, "state": "STARTED", "package_state": "STAGED", "version": "v",
              "updated_at": 7},
        "b": {"instances": 2, "state": "STOPPED", "package_state": "STAGED", "version": "v"},
        "c": {"instances": 2, "state": "STARTED", "package_state": "PENDING", "version": "v"},
    }  # fmt: skip

    desired = dict(parse(results))

    assert desired["a"] == Desired(instances=2, version="v", updated_at=7)
    assert [desired[name].instances for name in "abc"] == [2, 0, 0]
