"""Tasks, as clients and DEAs see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.dea.messages import Discover, Hello
from appliance.dea.messages_tasks import TaskCancel, TaskHeartbeat, TaskStart, TaskStatus

from .conftest import Cloud, Stager


class TaskDea:
    """Takes tasks, and says of them what the test wants."""

    def __init__(self, cloud: Cloud) -> None:
        self.kit = cloud.kit.named("dea")
        self.orders: list[TaskStart] = []
        self.taken = trio.Event()
        self.cancelled: list[str] = []

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Be there until cancelled."""
        async with (
            self.kit.subscribe(Discover) as questions,
            self.kit.subscribe(TaskStart) as orders,
            self.kit.subscribe(TaskCancel) as cancels,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.answer, questions)
            nursery.start_soon(self.take, orders)
            nursery.start_soon(self.end, cancels)
            task_status.started()
            await trio.sleep_forever()

    async def answer(self, questions: Any) -> None:
        async for received in questions:
            self.kit.respond(received, Hello(id="d1", ip="127.0.0.1", port=1))

    async def take(self, orders: Any) -> None:
        async for received in orders:
            self.orders.append(received.body)
            self.say(received.body.task, "RUNNING")
            self.taken.set()

    async def end(self, cancels: Any) -> None:
        async for received in cancels:
            self.cancelled.append(received.body.task)
            self.say(received.body.task, "FAILED", "task was cancelled")

    def say(self, task: str, state: str, why: str = "") -> None:
        """Tell of one task."""
        app = self.orders[0].app_id
        status = TaskStatus(
            task=task, app_id=app, state=state, state_timestamp=1, failure_reason=why
        )
        self.kit.publish(TaskHeartbeat(dea="d1", tasks=[status]))


@pytest.fixture
async def runner(cloud: Cloud) -> TaskDea:
    """A DEA for tasks."""
    made = TaskDea(cloud)
    await cloud.nursery.start(made.run)
    return made


async def staged_app(cloud: Cloud, tmp_path: Path) -> str:
    """An app with a current droplet."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)
    return app


async def until(cloud: Cloud, task: str, state: str) -> Any:
    """The task, once it is in *state*."""
    with trio.fail_after(5):
        while True:
            found = await cloud.call("GET", f"/v3/tasks/{task}", expect=200)
            if found["state"] == state:
                return found
            await trio.lowlevel.checkpoint()


async def test_a_task_runs_and_ends(
    cloud: Cloud, stager: Stager, runner: TaskDea, tmp_path: Path
) -> None:
    """A DEA gets the command with the app's droplet and variables; how it ends is kept."""
    app = await staged_app(cloud, tmp_path)
    variables = {"var": {"A": "own"}}
    await cloud.call("PATCH", f"/v3/apps/{app}/environment_variables", variables, expect=200)
    group = {"var": {"A": "all", "B": "all"}}
    await cloud.call("PATCH", "/v3/environment_variable_groups/running", group, expect=200)
    path = f"/v3/apps/{app}/tasks"

    body = {"command": "rake db:migrate", "name": "migrate", "memory_in_mb": 64}
    made = await cloud.call("POST", path, body, expect=202)
    await until(cloud, made["guid"], "RUNNING")
    runner.say(made["guid"], "SUCCEEDED")
    await until(cloud, made["guid"], "SUCCEEDED")
    runner.say(made["guid"], "FAILED", "too late")

    (order,) = runner.orders
    assert (order.command, order.name, order.limits.mem) == ("rake db:migrate", "migrate", 64)
    assert order.env == ["A=own", "B=all"]
    second = await cloud.call("POST", path, {"command": "true"}, expect=202)
    listed = (await cloud.call("GET", f"{path}?sequence_ids=2", expect=200))["resources"]
    assert [one["guid"] for one in listed] == [second["guid"]]
    assert (await until(cloud, made["guid"], "SUCCEEDED"))["result"] == {"failure_reason": None}


async def test_a_cancelled_task_has_failed(
    cloud: Cloud, stager: Stager, runner: TaskDea, tmp_path: Path
) -> None:
    """It is CANCELING until its DEA says that it has ended, and cannot be cancelled again."""
    app = await staged_app(cloud, tmp_path)
    made = await cloud.call("POST", f"/v3/apps/{app}/tasks", {"command": "sleep 9"}, expect=202)
    await until(cloud, made["guid"], "RUNNING")

    shown = await cloud.call("PUT", f"/v3/tasks/{made['guid']}/cancel", expect=202)

    assert shown["state"] in ("CANCELING", "FAILED")
    ended = await until(cloud, made["guid"], "FAILED")
    assert ended["result"]["failure_reason"] == "task was cancelled"
    again = await cloud.raw("POST", f"/v3/tasks/{made['guid']}/actions/cancel")
    assert again.status == 422
    assert "Task state is FAILED" in again.json()["errors"][0]["detail"]


async def test_without_a_dea_a_task_fails_at_once(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """Nobody waits for what cannot come."""
    app = await staged_app(cloud, tmp_path)

    made = await cloud.call("POST", f"/v3/apps/{app}/tasks", {"command": "true"}, expect=202)

    ended = await until(cloud, made["guid"], "FAILED")
    assert ended["result"]["failure_reason"].startswith("insufficient resources")


async def test_a_process_can_be_the_template(
    cloud: Cloud, stager: Stager, runner: TaskDea, tmp_path: Path
) -> None:
    """Command and limits are the process's where the task names none."""
    app = await staged_app(cloud, tmp_path)
    scale = {"memory_in_mb": 77}
    await cloud.call("POST", f"/v3/processes/{app}/actions/scale", scale, expect=202)

    body = {"template": {"process": {"guid": app}}}
    await cloud.call("POST", f"/v3/apps/{app}/tasks", body, expect=202)

    with trio.fail_after(5):
        await runner.taken.wait()
    assert runner.orders[0].limits.mem == 77
    assert runner.orders[0].command == "python3 app.py"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Command can't be blank"),
        ({"command": " "}, "Command can't be blank"),
        ({"command": "x", "memory_in_mb": -1}, "Memory in mb must be greater than 0"),
        ({"command": "x", "droplet_guid": "y"}, "Task must have a droplet."),
        ({"template": {"process": {"guid": "y"}}}, "Invalid process."),
    ],
)
async def test_what_cannot_run_is_said(
    cloud: Cloud, stager: Stager, tmp_path: Path, body: dict[str, Any], text: str
) -> None:
    """Each mistake has its sentence."""
    app = await staged_app(cloud, tmp_path)

    answer = await cloud.raw("POST", f"/v3/apps/{app}/tasks", body)

    assert answer.status == 422
    assert text in answer.json()["errors"][0]["detail"]
