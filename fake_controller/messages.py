"""What the controller says on the bus besides its requests to other rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class DropletUpdated:
    """The desired state of an app changed: the health manager looks again."""

    subject: ClassVar[str] = "droplet.updated"

    droplet: str
    cc_partition: str = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkCredentialsRequest:
    """Ask for the user and password of ``/bulk/apps``; answered by `BulkCredentials`."""

    subject: ClassVar[str] = "cloudcontroller.bulk.credentials.default"


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkCredentials:
    """Basic credentials of the bulk interface."""

    user: str
    password: str
