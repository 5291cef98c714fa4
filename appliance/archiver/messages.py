"""What archivers say on the bus. Droplets themselves travel over HTTP."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class DropletStored(Struct, frozen=True, kw_only=True):
    """A droplet is on this archiver's disk, and its digest has been checked.

    Published once per archiver: by the first node, then by each replica, so a
    listener can count the copies.
    """

    subject: ClassVar[str] = "archiver.droplet.stored"

    archiver: str  # its name
    app_id: str
    sha1: str
    sha256: str
    size: int  # bytes
    replica: bool  # False: from the controller; True: from another archiver
