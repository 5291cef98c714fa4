"""What the stager hears and answers on the bus: the staging protocol of 2012."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field

#: The buildpacks that every stager has of its own, in the order in which they are tried. They
#: go by Cloud Foundry's usual names, so that a manifest that asks for one just works.
BUILT_IN_BUILDPACKS = (
    "php_buildpack",
    "ruby_buildpack",
    "nodejs_buildpack",
    "python_buildpack",
    "go_buildpack",
    "staticfile_buildpack",
    "binary_buildpack",
)


class Resources(Struct, frozen=True, kw_only=True):
    """Limits while staging. In MB, and under other names than the DEA's ``limits``."""

    memory: int = 1024  # MB
    disk: int = 1024  # MB
    fds: int = 16384


class BuildpackToTry(Struct, frozen=True, kw_only=True):
    """One buildpack for the app. Ours, after what current Cloud Foundry tells its cells.

    Without *url* it is one of `BUILT_IN_BUILDPACKS`, or, when *name* itself is a URL, the one
    that is found there: a zip, or else a git repository, whose branch may follow after ``#``.

    Those with *skip_detect* all take part, in order: the last one builds the app, those before
    it supply what they have. In a list without any of those, the first that recognises the
    app takes it.
    """

    name: str  # "python_buildpack", an uploaded one's name, or a URL
    url: str | None = None  # of a zip; user:password may be in the URL
    sha256: str | None = None  # of that zip, in hex: a stager that has it does not ask again
    skip_detect: bool = False  # it was asked for, so whether it fits is not the question


class Properties(Struct, frozen=True, kw_only=True):
    """What the app is. Only ``framework_info.name`` chooses a plugin; none means detection."""

    services: list[dict[str, Any]] = field(default_factory=list)
    framework: str | None = None
    framework_info: dict[str, Any] | None = None
    runtime: str | None = None
    runtime_info: dict[str, Any] | None = None
    resources: Resources = field(default_factory=Resources)
    environment: list[str] = field(default_factory=list)  # "NAME=value"
    meta: dict[str, Any] = field(default_factory=dict)  # meta.command: the start command
    buildpacks: list[str] = field(default_factory=list)  # ours: names or URLs, in order
    stack: str | None = None  # ours
    buildpack_list: list[BuildpackToTry] = field(default_factory=list)  # ours: instead of the names
    vcap_application: dict[str, Any] | None = None  # ours: VCAP_APPLICATION while building
    vcap_services: dict[str, Any] | None = None  # ours: VCAP_SERVICES while building


class StagingRequest(Struct, frozen=True, kw_only=True):
    """Turn the zip at *download_uri* into a droplet and post it to *upload_uri*.

    Subject ``staging`` is also the queue group: exactly one stager takes each request.
    """

    subject: ClassVar[str] = "staging"

    app_id: str | int
    download_uri: str  # of a zip; user:password may be in the URL
    upload_uri: str  # takes multipart upload[droplet]; user:password may be in the URL
    properties: Properties
    task_id: str | None = None  # ours: chosen by the asker, so that a repeat is recognised
    timeout: float | None = None  # ours: seconds; the stager's own limit applies too


class BuildpackUsed(Struct, frozen=True, kw_only=True):
    """What a buildpack that took part said of itself; the fields of a V3 droplet."""

    name: str  # as the request named it
    detect_output: str | None = None  # what bin/detect printed; None when it was not asked
    version: str | None = None
    buildpack_name: str | None = None  # its own name for itself, from deps/<index>/config.yml


class StagedSidecar(Struct, frozen=True, kw_only=True):
    """A program beside the app's processes, from a buildpack's launch.yml."""

    name: str
    command: str
    process_types: list[str] = field(default_factory=list)
    memory: int | None = None  # MB


class StagingReply(Struct, frozen=True, kw_only=True):
    """How staging ended. ``error`` is absent on success, else a plain two-line string.

    Everything after ``error`` is ours, and absent in answers of an original stager.
    """

    task_id: str
    task_log: str  # lines "[YYYY-MM-DD HH:MM:SS] text\n"
    error: str | None = None  # "Staging task failed:\n Failed downloading app"
    error_code: str | None = None  # e.g. "no-plugin-matched"; see the stager's errors
    phase: str | None = None  # fetch, unpack, detect, build, pack, upload
    hint: str | None = None
    exit_code: int | None = None  # of the decade of the phase
    detected: str | None = None  # the plugin, e.g. "python"
    process_types: dict[str, str] | None = None  # {"web": "python3 app.py", …}
    droplet_sha1: str | None = None
    droplet_size: int | None = None  # bytes
    sandbox: str | None = None  # "bubblewrap", "landlock", "plain"
    phases: dict[str, float] | None = None  # seconds spent in each phase
    cloud_error: str | None = None  # as V3 shows it: "NoAppDetectedError - An app was not …"
    buildpacks: list[BuildpackUsed] | None = None  # in the order in which they ran
    sidecars: list[StagedSidecar] | None = None
    execution_metadata: str | None = None


class ClearBuildCaches(Struct, frozen=True, kw_only=True):
    """Forget what builds left for the next one. Every stager hears it; none answers."""

    subject: ClassVar[str] = "staging.cache.clear"

    app_id: str | None = None  # of one app; None: of all


class TaskQuestion(Struct, frozen=True, kw_only=True):
    """How is the task? Sent to ``staging.task.TASK_ID``; whoever has it answers by `TaskState`.

    Ours: an asker whose answer may be lost, with a stager or a NATS server, finds out.
    """

    subject: ClassVar[str] = "staging.task.*"


class TaskState(Struct, frozen=True, kw_only=True):
    """Answer to `TaskQuestion`, from the stager that has the task, or had it lately."""

    state: str  # running or finished
    reply: StagingReply | None = None  # of a finished one: what was, or should have been, answered
