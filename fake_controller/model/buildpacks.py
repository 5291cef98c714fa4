"""What apps are built with: buildpacks, and the stacks that they are made for."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record


class Buildpack(Record, frozen=True, kw_only=True):
    """One that an administrator offers to all apps.

    Its bits are a zip that was uploaded; those that stagers have of their own need none.
    """

    table: ClassVar[str] = "buildpacks"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    stack: str | None = None  # None: for any
    position: int  # 1 is tried first
    enabled: bool = True
    locked: bool = False  # its bits may not be replaced
    lifecycle: str = "buildpack"
    filename: str | None = None  # of the zip, as it was uploaded; None: there is none yet
    sha256: str | None = None  # of the zip; None with a file name: the stagers' own
    built_in: str | None = None  # the stagers' name for their own one


class Stack(Record, frozen=True, kw_only=True):
    """A system that apps are built for and run on. Here they all are this machine's."""

    table: ClassVar[str] = "stacks"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    description: str = ""
    state: str = "ACTIVE"  # RESTRICTED DEPRECATED DISABLED
    state_reason: str | None = None
    default: bool = False
