"""What was promised of brokers is kept over restarts of the controller."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from .brokers import (
    BINDINGS,
    binding_of,
    done,
    ended,
    failed,
    instance,
    register,
    running_broker,
    shown,
    wanted,
)
from .conftest import running_cloud


@pytest.mark.parametrize("sent", [True, False])
async def test_an_operation_goes_on_after_a_restart(tmp_path: Path, sent: bool) -> None:
    """One that the broker has begun with is asked about; one without an answer is sent again."""
    async with running_cloud() as outside, running_broker(outside) as broker:
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            plan = (await register(cloud, broker))["small"]
            if sent:
                broker.says["provision"] = [(202, {"operation": "op"})]
                broker.says["last"] = [(200, {"state": "in progress"})] * 10_000
            else:
                broker.hold = trio.Event()
            body = await wanted(cloud, plan)
            location = await cloud.call("POST", "/v3/service_instances", body, expect=202)
            assert (await shown(cloud))["last_operation"]["state"] in ("initial", "in progress")

        broker.says.clear()
        if broker.hold is not None:
            broker.hold.set()
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            job = location.rpartition("/")[2]
            assert (await ended(cloud, f"/v3/jobs/{job}"))["state"] == "COMPLETE"
            one = await shown(cloud)
            assert one["last_operation"]["state"] == "succeeded"
            assert len(broker.of("provision")) == (1 if sent else 2)
            await done(cloud, "DELETE", f"/v3/service_instances/{one['guid']}")


async def test_a_deletion_goes_on_with_its_parts(tmp_path: Path) -> None:
    """An instance is deleted after its bindings, wherever the stop has met them."""
    async with running_cloud() as outside, running_broker(outside) as broker:
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            guid = await instance(cloud, (await register(cloud, broker))["small"])
            for name in ("k1", "k2"):
                await done(cloud, "POST", BINDINGS, binding_of(guid, name=name))
            broker.says["unbind"] = [(202, {})]
            broker.says["last"] = [(200, {"state": "in progress"})] * 10_000
            path = f"/v3/service_instances/{guid}"
            location = await cloud.call("DELETE", path, expect=202)
            assert (await cloud.call("GET", location))["state"] == "POLLING"

        broker.says.clear()
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            job = location.rpartition("/")[2]
            assert (await ended(cloud, f"/v3/jobs/{job}"))["state"] == "COMPLETE"

    order = [one.what for one in broker.asked if one.what in ("unbind", "deprovision")]
    assert order == ["unbind", "unbind", "deprovision"]


async def test_what_may_be_left_is_forgotten_after_a_restart(tmp_path: Path) -> None:
    """A broker that was down when it had to forget something is told again."""
    async with running_cloud() as outside, running_broker(outside) as broker:
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            plan = (await register(cloud, broker))["small"]
            broker.says["provision"] = [(500, {})]
            broker.says["deprovision"] = [(500, {})] * 10_000
            await failed(cloud, "POST", "/v3/service_instances", await wanted(cloud, plan))
            with trio.fail_after(5):
                while not broker.of("deprovision"):
                    await trio.lowlevel.checkpoint()

        broker.says.clear()
        before = len(broker.of("deprovision"))
        async with running_cloud(tmp_path, hold=0.1):
            with trio.fail_after(5):
                while len(broker.of("deprovision")) == before:
                    await trio.lowlevel.checkpoint()


async def test_an_app_whose_bindings_take_long_stays_when_the_appliance_stops(
    tmp_path: Path,
) -> None:
    """Its job says why; the unbinding goes on, and the app can be deleted then."""
    async with running_cloud() as outside, running_broker(outside) as broker:
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            guid = await instance(cloud, (await register(cloud, broker))["small"])
            app = await cloud.app()
            await done(cloud, "POST", BINDINGS, binding_of(guid, app))
            broker.says["unbind"] = [(202, {})]
            broker.says["last"] = [(200, {"state": "in progress"})] * 10_000
            location = await cloud.call("DELETE", f"/v3/apps/{app}", expect=202)
            cloud.kit.draining.set()
            [error] = (await ended(cloud, location))["errors"]

        broker.says.clear()
        async with running_cloud(tmp_path, hold=0.1) as cloud:
            with trio.fail_after(5):
                while (await cloud.call("GET", BINDINGS))["resources"]:
                    await trio.lowlevel.checkpoint()
            await done(cloud, "DELETE", f"/v3/apps/{app}")

    assert error["detail"] == "The appliance is stopping. This goes on after its next start."
    assert len(broker.of("unbind")) == 1
