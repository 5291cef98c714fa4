"""Tasks."""

from __future__ import annotations

from typing import Any

import pytest

from .cli import Cf
from .reads import Process, Task
from .steps import look, new_app, pushed


def test_run_task(cf: Cf) -> None:
    """202; the number counts from 1 in each app, and one without a name gets one."""
    app = pushed(cf, start=False)
    path = f"/v3/apps/{look(cf, 'a').guid}/tasks"

    first = cf.post(path, {"command": "true", "name": "t"}, Task, 202)
    second = cf.post(path, {"command": "true"}, Task, 202)

    assert (first.sequence_id, first.name, first.command) == (1, "t", "true")
    assert second.sequence_id == 2
    assert second.name not in ("", "t")
    assert cf.get(f"/v3/tasks/{first.guid}", Task).guid == first.guid
    listed = cf.list(f"/v3/apps/{app.guid}/tasks?per_page=5000", Task)
    assert [task.sequence_id for task in listed] == [1, 2]


@pytest.mark.parametrize("memory", [32, "32"])
def test_run_task_with_limits(cf: Cf, memory: int | str) -> None:
    """Numbers may be written as texts."""
    app = pushed(cf, start=False)
    body = {"command": "true", "memory_in_mb": memory, "disk_in_mb": 64,
            "log_rate_limit_in_bytes_per_second": -1}  # fmt: skip

    task = cf.post(f"/v3/apps/{app.guid}/tasks", body, Task, 202)

    assert (task.memory_in_mb, task.disk_in_mb) == (32, 64)


def test_run_task_of_a_process(cf: Cf) -> None:
    """Without a command the CLI names the process ``task`` as the template."""
    app = pushed(cf, start=False)
    detail = cf.refused("GET", f"/v3/apps/{app.guid}/processes/task", status=404)
    assert detail == "Process not found"
    web = cf.get(f"/v3/apps/{app.guid}/processes/web", Process)

    body = {"template": {"process": {"guid": web.guid}}}
    task = cf.post(f"/v3/apps/{app.guid}/tasks", body, Task, 202)

    assert task.command == web.command


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v3/tasks/GUID/cancel"), ("POST", "/v3/tasks/GUID/actions/cancel")],
)
def test_terminate_task(cf: Cf, method: str, path: str) -> None:
    """Found by its number; 202."""
    app = pushed(cf, start=False)
    cf.post(f"/v3/apps/{app.guid}/tasks", {"command": "sleep 100"}, Task, 202)
    query = "page=1&per_page=1&sequence_ids=1"
    task = cf.one(f"/v3/apps/{app.guid}/tasks?{query}", Task)

    shown = cf.call(method, path.replace("GUID", task.guid), None, 202, Task)

    assert shown.state in ("CANCELING", "FAILED")


@pytest.mark.parametrize("body", [{"command": "true"}, {"command": "true", "name": "t"}])
def test_a_task_needs_a_droplet(cf: Cf, body: dict[str, Any]) -> None:
    """In known words."""
    detail = cf.refused("POST", f"/v3/apps/{new_app(cf).guid}/tasks", body)

    text = "Task must have a droplet. Specify droplet or assign current droplet to app."
    assert detail == text
