"""Why an instance did not start, as sentences: they become ``exit_description`` on the bus."""

from __future__ import annotations

from appliance.kernel.errors import ApplianceError


class StartFailed(ApplianceError):
    """The instance did not get as far as running."""

    code, status, exit_code = "start-failed", 422, 42


class NoRoom(StartFailed):
    """This DEA has not enough memory left, or too many instances."""

    code, status, exit_code = "insufficient-resources", 503, 41

    def __init__(self) -> None:
        super().__init__("insufficient resources")


class NoMemoryLeft(StartFailed):
    """The sidecars of an instance are given all of its memory."""

    code = "no-memory-left"

    def __init__(self, theirs: int, whole: int) -> None:
        super().__init__(
            f"The sidecars' memory ({theirs} MB) leaves nothing of the instance's ({whole} MB)"
        )


class DropletUnavailable(StartFailed):
    """No source gave the droplet that was ordered."""

    code, status = "droplet-unavailable", 502

    def __init__(self, why: str) -> None:
        super().__init__(f"Droplet could not be fetched: {why}")


class DropletUnusable(StartFailed):
    """The droplet arrived whole, but nothing can be unpacked or started from it."""

    code = "droplet-unusable"


class BindingsUnusable(StartFailed):
    """The bound services cannot be told as files."""

    code = "bindings-unusable"


class NeverListened(StartFailed):
    """Nothing accepted connections on the port that the instance was given."""

    code, exit_code = "never-listened", 43
    hint = "The app must listen on the port that the variable PORT gives."

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(f"Never listened on port {port} within {seconds:g} s")


class NeverHealthy(StartFailed):
    """The instance listened, but its health check never answered well."""

    code, exit_code = "unhealthy", 44

    def __init__(self, seconds: float, last: str) -> None:
        super().__init__(f"Instance never healthy after {seconds:g}s: {last}")
