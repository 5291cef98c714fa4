"""Limits of the NATS wire listener, and who may connect. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.kernel.bus import MAX_PAYLOAD

#: The nats-server whose answers ours are compared with. Clients decide by this what they
#: may use, so it has to be a real one.
VERSION = "2.9.10"
PROTOCOL = 1  # the client protocol that INFO names


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a nats-server calls the same, with its defaults unless a comment says why not."""

    user: str = ""  # "" lets anybody in, unless there is a token
    password: str = ""
    token: str = ""
    auth_timeout: float = 2.0  # seconds until CONNECT must have come, when it is needed
    max_payload: int = MAX_PAYLOAD  # bytes of headers and data
    max_control_line: int = 4096  # bytes
    max_pending: int = 64 * 1024 * 1024  # bytes that may wait for one client
    write_deadline: float = 10.0  # seconds that a client may read nothing while bytes wait
    ping_interval: float = 120.0  # seconds of silence before a client is asked
    ping_max: int = 2  # unanswered pings before it is given up
    max_connections: int = 4096  # nats-server: 65,536; ours shares a process with all rooms
    max_subscriptions: int = 10_000  # of one client; nats-server: no limit

    @property
    def auth_required(self) -> bool:
        """Whether CONNECT must bring a login."""
        return bool(self.user or self.token)
