"""What can go wrong in a command, as sentences; exit codes are those of docs and `cli`."""

from __future__ import annotations

from appliance.kernel.errors import ApplianceError


class NotRunning(ApplianceError):
    """No appliance was found, or the one that was named does not answer."""

    code, exit_code = "not-running", 69
    hint = "Start one with `appliance up`, or say where it is with --api URL."


class NoBusListener(ApplianceError):
    """The bus of this appliance has no NATS listener."""

    code, exit_code = "no-bus-listener", 69
    hint = "Start the appliance with nats.bind set."


class NotReadyInTime(ApplianceError):
    """It is starting, or was not even found; waiting longer may help."""

    code, exit_code = "not-ready-in-time", 75


class LoginRefused(ApplianceError):
    """User or password is wrong."""

    code, exit_code = "login-refused", 1
    hint = "Set APPLIANCE_USER and APPLIANCE_PASSWORD; a new appliance has admin / admin."


class ApiError(ApplianceError):
    """The API refused a request, in its own words."""

    code, exit_code = "api-refused", 1

    def __init__(self, status: int, number: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.http = status
        self.number = number
        self.title = title


class NoSuchApp(ApplianceError):
    """There is no app of that name in the space."""

    code, exit_code = "no-such-app", 1

    def __init__(self, name: str, space: str) -> None:
        super().__init__(
            f"There is no app {name} in space {space}.", hint="`appliance apps` lists them."
        )


class NoSuchPlace(ApplianceError):
    """The organization or the space does not exist."""

    code, exit_code = "no-such-place", 1


class BadApp(ApplianceError):
    """What should be pushed cannot be read as an app."""

    code, exit_code = "bad-app", 1


class NotFoundInTrace(ApplianceError):
    """The trace knows nothing of that push, or no longer."""

    code, exit_code = "no-such-trace", 1


class PhaseFailed(ApplianceError):
    """An app did not get through one of its phases, which decides the exit code."""

    code, exit_code = "phase-failed", 1

    def __init__(
        self,
        message: str,
        *,
        phase: str,
        code: str,
        exit_code: int,
        hint: str = "",
        logs: list[str] | None = None,
        still_running: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        # Each failure has its own code and exit code: the stager and the DEA name them.
        self.code = code  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]
        self.phase = phase
        self.logs = logs or []  # the app's last words
        self.still_running = still_running  # the version that ran before
