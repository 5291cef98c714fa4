"""What can go wrong while staging, phase by phase. Pure.

``str(error)`` begins with the words of the original stager, which go into the reply's ``error``;
what the user can do about it is in ``hint``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from appliance.kernel.errors import ApplianceError


class StagingError(ApplianceError):
    """The app could not be turned into a droplet."""

    code, status, exit_code = "staging-failed", 422, 20
    phase: ClassVar[str] = ""
    cloud: ClassVar[str] = ""  # how a V3 build tells it; "" for a StagingError


#: The errors of a V3 build, by the names that clients tell apart.
NO_APP_DETECTED = (
    "NoAppDetectedError - An app was not successfully detected by any available buildpack"
)
COMPILE_FAILED = "BuildpackCompileFailed - App staging failed in the buildpack compile phase"
RELEASE_FAILED = "BuildpackReleaseFailed - App staging failed in the buildpack release phase"


def cloud_error(error: ApplianceError) -> str:
    """*error* as the ``error`` of a V3 build; the log tells what exactly went wrong."""
    if isinstance(error, StagingTimedOut):
        return f"StagingTimeExpired - Staging time expired: {error}"
    own = error.cloud if isinstance(error, StagingError) else ""
    return own or f"StagingError - Staging error: {error}"


class StagerBusy(StagingError):
    """So many tasks wait already that this one was not taken."""

    code, status = "stager-busy", 503
    hint = "Push again in a moment, or start more stagers."

    def __init__(self, waiting: int) -> None:
        super().__init__(f"The stager is busy: {waiting} tasks are waiting already.")


class StagerStopping(StagingError):
    """The stager is shutting down and gave the task up."""

    code, status = "stager-stopping", 503
    hint = "Push again when the stager is back."

    def __init__(self) -> None:
        super().__init__("The stager is shutting down.")


class StagingTimedOut(StagingError):
    """The task took longer than it may."""

    code, exit_code = "staging-timed-out", 27
    hint = "Push less, or raise stager.max_staging_duration."

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Staging timed out after {seconds:g} seconds.")


class FetchFailed(StagingError):
    """The app's zip could not be downloaded."""

    code, exit_code, phase = "fetch-failed", 22, "fetch"
    hint = "The controller's address must be reachable for the stager; `appliance trace` shows it."

    def __init__(self, reason: str) -> None:
        super().__init__(f"Failed downloading app: {reason}")


class UnpackFailed(StagingError):
    """The app's zip is damaged, too large, or breaks a rule for archives."""

    code, exit_code, phase = "unpack-failed", 23, "unpack"

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(f"Failed unpacking app: {reason}", hint=hint)


class NoPluginMatched(StagingError):
    """Nothing in the app tells what it is."""

    code, exit_code, phase = "no-plugin-matched", 21, "detect"
    cloud = NO_APP_DETECTED
    hint = "Put a requirements.txt, package.json or Procfile at the top of the app."

    def __init__(self, tried: Sequence[str]) -> None:
        super().__init__(f"No plugin recognised the app (tried {', '.join(tried)}).")


class UnknownPlugin(StagingError):
    """A framework or buildpack was asked for that this stager does not have."""

    code, exit_code, phase = "unknown-plugin", 21, "detect"

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        hint = f"Leave it out to have the app detected, or use one of {', '.join(known)}."
        super().__init__(f"There is no {kind} {name!r} on this stager.", hint=hint)


class StartCommandMissing(StagingError):
    """The app was recognised, but not how it starts."""

    code, exit_code, phase = "start-command-missing", 21, "detect"
    cloud = RELEASE_FAILED

    def __init__(self, framework: str, looked_for: str) -> None:
        super().__init__(
            f"Unable to determine {framework} startup command.",
            hint=f"Add a Procfile with a `web:` line, give a start command, or add {looked_for}.",
        )


class RuntimeMissing(StagingError):
    """The machine lacks the program that runs such apps."""

    code, exit_code, phase = "runtime-missing", 21, "detect"
    cloud = COMPILE_FAILED

    def __init__(self, runtime: str, package: str, *, elsewhere: str = "") -> None:
        where = f" (there is {elsewhere}, which the sandbox does not show)" if elsewhere else ""
        super().__init__(
            f"The runtime {runtime} is not installed on this machine{where}.",
            hint=f"Install it for the system, e.g. `apt install {package}`, and push again.",
        )


class BuildFailed(StagingError):
    """The app's own build, or installing what it needs, failed."""

    code, exit_code, phase = "build-failed", 24, "build"
    cloud = COMPILE_FAILED

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(f"Staging plugin failed: {reason}", hint=hint)


class BuildpackUnavailable(StagingError):
    """A buildpack could not be downloaded, or is none."""

    code, exit_code, phase = "buildpack-unavailable", 22, "detect"

    def __init__(self, name: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"The buildpack {name} cannot be used: {reason}", hint=hint)


class ReleaseFailed(StagingError):
    """A buildpack built the app, but did not tell how it starts."""

    code, exit_code, phase = "release-failed", 24, "build"
    cloud = RELEASE_FAILED


class PackagesUnavailable(BuildFailed):
    """What the app requires can be had neither from the app nor from the package cache."""

    code = "packages-unavailable"


class PackFailed(StagingError):
    """The droplet's archive could not be made."""

    code, exit_code, phase = "pack-failed", 25, "pack"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Failed creating droplet: {reason}")


class UploadFailed(StagingError):
    """The controller did not take the droplet."""

    code, exit_code, phase = "upload-failed", 26, "upload"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Failed uploading droplet: {reason}")
