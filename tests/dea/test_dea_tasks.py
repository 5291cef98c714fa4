"""Tasks: run once in a sandbox of their own, told of from start to end, and cancelled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from appliance.dea.ending import Ending
from appliance.dea.messages import Limits
from appliance.dea.messages_tasks import FindTasks, TaskCancel, TaskHeartbeat, TaskStart
from appliance.dea.tasks import verdict


def a_task(world: Any, droplet: Any, command: str, **more: Any) -> TaskStart:
    """The order for a task, whose droplet the archiver then has."""
    order = world.order(droplet)
    task = TaskStart(
        task="task-1",
        name="migrate",
        command=command,
        app_id="app-1",
        app_name="hello",
        sha1=order.sha1,
        sha256=order.sha256,
        executableUri=order.executableUri,
        limits=Limits(mem=128, disk=256, fds=512),
    )
    return structs.replace(task, **more)


def give(world: Any, task: TaskStart) -> None:
    """Send *task* to the DEA."""
    world.kit.publish(task, subject=f"dea.{world.dea}.task.start")


async def state(world: Any, wanted: str, task: str = "task-1") -> dict[str, Any]:
    """Wait until *task* is told to be in the state *wanted*; what was told."""

    def told(body: dict[str, Any]) -> bool:
        return any((one["task"], one["state"]) == (task, wanted) for one in body["tasks"])

    beat: dict[str, Any] = await world.wait_for("dea.task.heartbeat", told)
    assert beat["dea"] == world.dea
    found: dict[str, Any] = next(one for one in beat["tasks"] if one["task"] == task)
    return found


async def test_a_task_runs_once_and_succeeds(world: Any, web: Any) -> None:
    """Its lines are the task's, its room is free afterwards, and nobody takes it for an app."""
    give(world, a_task(world, web, "echo done by $USER"))
    done = await state(world, "SUCCEEDED")
    assert (done["exit_status"], done["failure_reason"]) == (0, "")
    assert done["app_id"] == "app-1"
    await world.wait_for("dea.advertise", lambda body: body["available_memory"] == 512, count=2)
    told = [
        one["state"]
        for name, body in world.heard
        if name == "dea.task.heartbeat"
        for one in body["tasks"]
    ]
    assert told == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert world.lines("APP/TASK/migrate") == ["done by vcap", "Exit status 0"]
    assert f"Cell {world.dea} creating container for instance task-1" in world.lines("CELL")
    quiet = {"dea.heartbeat", "droplet.exited", "router.register"}
    assert not quiet & set(world.subjects())


async def test_a_task_fails_with_its_status(world: Any, web: Any) -> None:
    """The reason is Cloud Foundry's sentence."""
    give(world, a_task(world, web, "echo no >&2; exit 3"))
    failed = await state(world, "FAILED")
    assert failed["exit_status"] == 3
    assert failed["failure_reason"] == "APP/TASK/migrate: Exited with status 3"


async def test_a_task_that_needs_too_much_memory_fails(make_world: Any, web: Any) -> None:
    """The watchdog looks after tasks, too."""
    code = "python3 -c 'import time; hog = bytearray(100 << 20); time.sleep(600)'"
    async with make_world(monitor=0.1) as world:
        limits = Limits(mem=64, disk=64, fds=256)
        give(world, a_task(world, web, code, limits=limits))
        failed = await state(world, "FAILED")
    assert "Exited with status 137 (out of memory)" in failed["failure_reason"]


async def test_a_task_is_cancelled(world: Any, web: Any) -> None:
    """It may finish what it does, and has failed all the same; others go on."""
    catches = "trap 'echo tidied; exit 0' TERM; echo up; sleep 600 & wait"
    give(world, a_task(world, web, catches))
    give(world, a_task(world, web, "sleep 600", task="task-2"))
    await world.line("up")
    await state(world, "RUNNING", "task-2")
    world.kit.publish(TaskCancel(task="task-1"))
    failed = await state(world, "FAILED")
    assert failed["failure_reason"] == "task was cancelled"
    assert "tidied" in world.lines("APP/TASK/migrate")
    async with world.kit.ask_all(FindTasks(), TaskHeartbeat) as answers:
        tasks = {one.task: one.state for one in (await answers.__anext__()).body.tasks}
    assert tasks == {"task-1": "FAILED", "task-2": "RUNNING"}


async def test_a_task_without_room_fails_at_once(world: Any, web: Any) -> None:
    """Whoever placed it there hears so; and what was told once is not tried again."""
    big = a_task(world, web, "true", limits=Limits(mem=4096))
    give(world, big)
    assert (await state(world, "FAILED"))["failure_reason"] == "insufficient resources"
    give(world, a_task(world, web, "true"))
    async with world.kit.ask_all(FindTasks(), TaskHeartbeat) as answers:
        (only,) = (await answers.__anext__()).body.tasks
    assert only.state == "FAILED"
    assert world.has("task.repeated")


async def test_a_guid_that_is_none_is_refused(world: Any, web: Any) -> None:
    """It would become a part of a path."""
    give(world, a_task(world, web, "true", task="../../x"))
    failed = await state(world, "FAILED", "../../x")
    assert failed["failure_reason"].startswith("The task's guid may have ")


async def test_a_droplet_that_is_gone_fails_its_task(world: Any, web: Any) -> None:
    """The reason says what was asked of whom."""
    give(world, a_task(world, web, "true", executableUri=f"{world.archiver}/droplets/none"))
    failed = await state(world, "FAILED")
    assert failed["failure_reason"].startswith("Droplet could not be fetched: ")
    assert failed["exit_status"] is None


async def test_a_task_has_the_surroundings_of_its_app(world: Any, web: Any) -> None:
    """Services, the user's variables and limits as an instance has them, but no port."""
    services = [{"label": "user-provided", "name": "db", "credentials": {"uri": "postgres://h/d"}}]
    show = (
        "import json, os; print(json.dumps({k: os.environ.get(k) for k in"
        " ('A', 'PORT', 'MEMORY_LIMIT', 'VCAP_SERVICES', 'DATABASE_URL', 'VCAP_APPLICATION')}))"
    )
    facts = {"application_id": "app-1"}
    more = {"services": services, "env": ["A=b c"], "vcap_application": facts}
    give(world, a_task(world, web, f'python3 -c "{show}"', **more))
    await state(world, "SUCCEEDED")
    told = json.loads(world.lines("APP/TASK/migrate")[0])
    assert (told["A"], told["PORT"], told["MEMORY_LIMIT"]) == ("b c", None, "128m")
    assert json.loads(told["VCAP_SERVICES"]) == {"user-provided": services}
    assert told["DATABASE_URL"] == "postgres://h/d"
    assert json.loads(told["VCAP_APPLICATION"])["application_id"] == "app-1"


async def test_who_was_away_hears_how_tasks_ended(make_world: Any, web: Any) -> None:
    """Heartbeats repeat it, so that no end is lost with one message."""
    async with make_world(heartbeat=0.05) as world:
        give(world, a_task(world, web, "true"))
        await state(world, "SUCCEEDED")
        world.heard.clear()
        again = await state(world, "SUCCEEDED")
    assert again["exit_status"] == 0


async def test_a_stopped_dea_fails_its_tasks(make_world: Any, web: Any) -> None:
    """They end with it, and it says so."""
    async with make_world() as world:
        give(world, a_task(world, web, "echo up; sleep 600"))
        await world.line("up")
    failed = await state(world, "FAILED")
    assert failed["failure_reason"] == "The DEA was stopped while the task ran"


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(reason="CRASHED", status=0, description="x"), ("SUCCEEDED", "")),
        (Ending(reason="CRASHED", status=1, description="x"), ("FAILED", "x")),
        (Ending(reason="CRASHED", description="no droplet"), ("FAILED", "no droplet")),
        (Ending(reason="STOPPED", status=0), ("FAILED", "task was cancelled")),
    ],
)
def test_how_an_ending_is_told(ending: Ending, expected: tuple[str, str]) -> None:
    """Only a program that ended by itself, and well, has succeeded."""
    assert verdict(ending) == expected
