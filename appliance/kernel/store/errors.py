"""What can go wrong with state on disk, as sentences."""

from __future__ import annotations

from pathlib import Path

from appliance.kernel.errors import ApplianceError, Unavailable


class StateTooNew(ApplianceError):
    """The state was written by a newer appliance."""

    code, exit_code = "state-too-new", 32
    hint = "Update the appliance, or start with another --state folder."

    def __init__(self, path: Path | None, found: int, known: int) -> None:
        super().__init__(
            f"{path} has version {found} of its tables; this appliance knows those up to {known}."
        )


class StateDamaged(ApplianceError):
    """A file of the state is no database, or a damaged one."""

    code, exit_code = "state-damaged", 33
    hint = "Start with another --state folder, or put a backup in place of the file."


class StateBusy(Unavailable):
    """Another process holds the state."""

    code, exit_code = "state-busy", 34
    hint = "Stop the other appliance, or start with another --state folder."


class StateReadOnly(Unavailable):
    """The state cannot be written to."""

    code, exit_code = "state-read-only", 35
    hint = "Check the permissions of the --state folder and whether its disk is read-only."


class StateFailed(ApplianceError):
    """The disk failed while the state was read or written."""

    code, exit_code = "state-failed", 36
    hint = "Look at the system's log for errors of the disk."
