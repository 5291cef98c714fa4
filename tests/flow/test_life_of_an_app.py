"""What runs of an app besides its main program, from the API to the DEA and into the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from appliance.commands.api import Api, connected
from appliance.commands.target import Target
from appliance.logs.messages import LogLines

from .conftest import Desk

HELLO = Path("sample_apps/python-hello")


def target(desk: Desk) -> Target:
    """The appliance on the desk, for somebody who may do everything."""
    return Target(
        api=desk.running.endpoints.api,
        user=desk.running.endpoints.user,
        password=desk.running.endpoints.password,
        org="dev",
        space="dev",
        found_by="--api",
    )


async def until(api: Api, path: str, test: Callable[[Any], bool]) -> Any:
    """What *path* answers, as soon as it passes *test*."""
    with trio.fail_after(10):
        while not test(found := await api.get(path)):  # noqa: ASYNC110 (the API has no events)
            await trio.sleep(0.02)
    return found


async def test_tasks_and_sidecars_of_an_app(desk: Desk) -> None:
    """A task runs once with the app's services; a sidecar runs beside each instance, and its end
    is a crash that the API tells of."""
    kit = desk.running.kit
    lines: list[tuple[str, str]] = []

    async def hear(*, task_status: trio.TaskStatus[None]) -> None:
        async with kit.subscribe(LogLines) as inbox:
            task_status.started()
            async for received in inbox:
                lines.extend((line.source_type, line.text) for line in received.body.lines)

    async with connected(target(desk)) as api, trio.open_nursery() as nursery:
        await nursery.start(hear)
        assert (await desk.cli("push", "hello", HELLO)).status == 0
        app = (await api.app("hello"))["guid"]

        order = {"command": "echo $MEMORY_LIMIT; exit 7", "name": "once", "memory_in_mb": 64}
        task = await api.post(f"/v3/apps/{app}/tasks", order)
        ended = await until(api, f"/v3/tasks/{task['guid']}", lambda t: t["state"] == "FAILED")
        assert ended["result"] == {"failure_reason": "APP/TASK/once: Exited with status 7"}
        assert ("APP/TASK/once", "64m") in lines

        command = "echo beside the app; sleep 0.3; exit 9"
        beside = {"name": "helper", "command": command, "process_types": ["web"]}
        await api.post(f"/v3/apps/{app}/sidecars", beside)
        await api.post(f"/v3/apps/{app}/actions/restart")
        stats = f"/v3/apps/{app}/processes/web/stats"
        seen = await until(api, stats, lambda seen: seen["resources"][0]["state"] == "CRASHED")
        why = "APP/PROC/WEB/SIDECAR/HELPER: Exited with status 9"
        assert seen["resources"][0]["details"] == why
        assert ("APP/PROC/WEB/SIDECAR/HELPER", "beside the app") in lines
        nursery.cancel_scope.cancel()
