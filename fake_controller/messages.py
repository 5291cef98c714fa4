"""What the controller says on the bus besides its requests to other rooms."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class DropletUpdated(Struct, frozen=True, kw_only=True):
    """The desired state of an app changed: the health manager looks again."""

    subject: ClassVar[str] = "droplet.updated"

    droplet: str
    cc_partition: str = "default"


class BulkCredentialsRequest(Struct, frozen=True, kw_only=True):
    """Ask for the user and password of ``/bulk/apps``; answered by `BulkCredentials`."""

    subject: ClassVar[str] = "cloudcontroller.bulk.credentials.default"


class BulkCredentials(Struct, frozen=True, kw_only=True):
    """Basic credentials of the bulk interface."""

    user: str
    password: str


class SshAuthorize(Struct, frozen=True, kw_only=True):
    """May who has this one-time code log in as that user? Answered by `SshAuthorized`."""

    subject: ClassVar[str] = "ssh.authorize"

    user: str  # "cf:GUID/INDEX", of a process or an app
    code: str  # good once, whatever the answer
    client: str = ""  # "address:port", for the app's events


class SshAuthorized(Struct, frozen=True, kw_only=True):
    """The answer: which instance it is, or why not."""

    droplet: str = ""  # the process, as DEAs know it
    index: int = 0
    instance: str | None = None  # its id
    app_id: str = ""  # the app's guid
    username: str = ""  # who has logged in
    refusal: str = ""  # a sentence; "" when they may
