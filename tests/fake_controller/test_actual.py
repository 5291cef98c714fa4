"""What the controller takes for running, from what it ordered and what it heard."""

from __future__ import annotations

from appliance.dea.messages import DropletExited, Heartbeat, HeartbeatInstance
from fake_controller.actual import Actual, Instance


def instance(guid: str, index: int = 0) -> Instance:
    """One that was just ordered."""
    return Instance(process="p", version="v", guid=guid, index=index, state="STARTING", since=0)


def beat(*guids: str) -> Heartbeat:
    """A DEA's word that these run."""
    droplets = [
        HeartbeatInstance(
            droplet="p", version="v", instance=guid, index=0, state="RUNNING", state_timestamp=0
        )
        for guid in guids
    ]
    return Heartbeat(droplets=droplets, dea="d")


def test_an_order_that_was_lost_in_an_outage_is_forgotten() -> None:
    """Not one that a DEA speaks of, nor one that was given since."""
    actual = Actual()
    for guid, at in (("lost", 1.0), ("heard", 1.0), ("later", 6.0)):
        actual.ordered(instance(guid), at)
    actual.heard(beat("heard"), now=2.0)

    assert [one.guid for one in actual.forget_unheard(before=5.0)] == ["lost"]
    assert {one.guid for one in actual.of("p")} == {"heard", "later"}
    assert actual.forget_unheard(before=5.0) == []


def test_what_ended_or_fell_silent_is_not_waited_for() -> None:
    """Nothing is kept of it."""
    actual = Actual(silence=10)
    actual.ordered(instance("ended"), 0)
    actual.ordered(instance("silent"), 0)
    actual.exited(
        DropletExited(droplet="p", version="v", instance="ended", index=0, reason="STOPPED")
    )
    assert [one.guid for one in actual.prune(now=11)] == ["silent"]
    assert actual.forget_unheard(before=100) == []
    assert not actual.unheard
    assert not actual.seen_at
