"""What DEAs hear and say of tasks: commands of a droplet that run once. All of it is ours."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field

from appliance.dea.messages import Limits


class TaskStart(Struct, frozen=True, kw_only=True):
    """Run *command* once, in a sandbox of its own. Never answered: watch for `TaskHeartbeat`.

    Sent to ``dea.UUID.task.start``, to a DEA that has answered a `Discover` with the task's
    limits. A DEA that knows the task already, also as ended, ignores the message.
    """

    subject: ClassVar[str] = "dea.*.task.start"

    task: str  # its guid, which is also the name of its instance
    name: str  # its log lines are labelled APP/TASK/name
    command: str
    app_id: str  # the app's guid: where its log lines go
    app_name: str
    sha1: str
    executableUri: str
    executableUris: list[str] = field(default_factory=list)  # asked when the first fails
    executableFile: str = ""
    sha256: str | None = None
    version: str = ""  # as in `Start`
    services: list[dict[str, Any]] = field(default_factory=list)  # as in `Start`
    services_as: str = "variable"  # as in `Start`
    env: list[str] = field(default_factory=list)  # "NAME=value"
    limits: Limits = field(default_factory=Limits)
    vcap_application: dict[str, Any] | None = None  # merged over what the DEA makes


class TaskCancel(Struct, frozen=True, kw_only=True):
    """End a task, wherever it runs: it is then told as FAILED, "task was cancelled".

    One that has ended, or that no DEA knows, is left as it is.
    """

    subject: ClassVar[str] = "dea.task.cancel"

    task: str


class TaskStatus(Struct, frozen=True, kw_only=True):
    """One task in a heartbeat."""

    task: str
    app_id: str
    state: str  # PENDING (taken, not begun), RUNNING, SUCCEEDED, FAILED
    state_timestamp: float  # seconds since 1970
    failure_reason: str = ""  # FAILED: a sentence, e.g. "APP/TASK/name: Exited with status 1"
    exit_status: int | None = None  # of its program, once that has ended


class TaskHeartbeat(Struct, frozen=True, kw_only=True):
    """All tasks of a DEA every 10 s, and one alone at each change of its state.

    Those that have ended are repeated for 10 minutes, so that a controller that was away
    learns how. A task that no DEA has spoken of for 25 s is lost with its DEA: whoever
    started it takes it for FAILED.
    """

    subject: ClassVar[str] = "dea.task.heartbeat"

    dea: str
    tasks: list[TaskStatus]


class FindTasks(Struct, frozen=True, kw_only=True):
    """Ask every DEA for its tasks; each one answers with a `TaskHeartbeat`, an empty one too.

    With several when there are very many.
    """

    subject: ClassVar[str] = "dea.task.find"
