"""Where clients find the ssh room, as the root document tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import trio

from appliance.ssh.messages import SshAdvertise

CLIENT = "ssh-proxy"  # the OAuth client in whose name one-time codes are asked for


@dataclass
class SshRoom:
    """What is known of it."""

    about: SshAdvertise | None = None
    settled: trio.Event = field(default_factory=trio.Event)  # it has answered, or there is none

    def link(self, base: str) -> dict[str, Any] | None:
        """The link ``app_ssh`` for a client who has reached us at *base*; None without a room."""
        if (about := self.about) is None:
            return None
        host = about.host or urlsplit(base).hostname or "127.0.0.1"
        return {
            "href": f"[{host}]:{about.port}" if ":" in host else f"{host}:{about.port}",
            "meta": {"host_key_fingerprint": about.fingerprint, "oauth_client": CLIENT},
        }
