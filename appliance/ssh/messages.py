"""What the ssh room says about itself."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class SshLocate(Struct, frozen=True, kw_only=True):
    """Where is the ssh room? It answers with `SshAdvertise`, as soon as it has its key."""

    subject: ClassVar[str] = "ssh.locate"


class SshAdvertise(Struct, frozen=True, kw_only=True):
    """The ssh room takes clients: what the controller tells them of it. Also the reply."""

    subject: ClassVar[str] = "ssh.advertise"

    host: str  # "" where that is the controller's own, as the client names it
    port: int
    fingerprint: str  # of the host key: SHA-256 in base64 without padding
