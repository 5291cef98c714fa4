"""What was promised of brokers is kept over restarts of the controller."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from .brokers import done, ended, register, running_broker
from .conftest import running_cloud
from .test_managed_services import shown, wanted


@pytest.mark.parametrize("sent", [True, False])
async def test_an_operation_goes_on_after_a_restart(tmp_path: Path, sent: bool) -> None:
    """One that the broker has begun with is asked about; one without an answer is sent again."""
    async with running_cloud() as outside, running_broker(outside) as broker:
        async with running_cloud(tmp_path) as cloud:
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
        async with running_cloud(tmp_path) as cloud:
            job = location.rpartition("/")[2]
            assert (await ended(cloud, f"/v3/jobs/{job}"))["state"] == "COMPLETE"
            one = await shown(cloud)
            assert one["last_operation"]["state"] == "succeeded"
            assert len(broker.of("provision")) == (1 if sent else 2)
            await done(cloud, "DELETE", f"/v3/service_instances/{one['guid']}")
