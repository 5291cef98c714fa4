"""Ports for instances: free ones, and never the same one twice at once."""

from __future__ import annotations

import socket

import trio

from appliance.kernel.clock import Ids
from appliance.kernel.errors import Unavailable

#: Below the range from which Linux takes ports for outgoing connections (32768 to 60999), so
#: that nobody gets the port between our looking and the app's binding; and outside the blocks
#: 7700 to 7799, 7800 to 7899, … of the appliance itself.
FIRST, LAST = 20_000, 32_767


class Ports:
    """Hands out ports in turn, so that a freed one rests as long as possible.

    A router that has not yet heard of the end of an instance then finds nobody there,
    rather than another app. All DEAs of one process share the same turn.
    """

    def __init__(self, ids: Ids) -> None:
        self._taken: set[int] = set()
        self._next = FIRST + int(ids.hex(8), 16) % (LAST - FIRST + 1)

    def take(self) -> int:
        """A port on which nobody listens. Give it back with `give_back`.

        Raises:
          Unavailable: every port of the range is in use.
        """
        for _ in range(FIRST, LAST + 1):
            port = self._next
            self._next = FIRST if port == LAST else port + 1
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise Unavailable(f"No port from {FIRST} to {LAST} is free")

    def give_back(self, port: int) -> None:
        """The instance that had *port* is gone."""
        self._taken.discard(port)


_shared: trio.lowlevel.RunVar[Ports] = trio.lowlevel.RunVar("instance ports")


def shared_ports(ids: Ids) -> Ports:
    """The ports of this process; *ids* says where the first one to need them begins."""
    try:
        return _shared.get()
    except LookupError:
        ports = Ports(ids)
        _shared.set(ports)
        return ports


def is_free(port: int) -> bool:
    """Whether an app could listen on *port*, on any address."""
    try:
        probe = socket.socket(socket.AF_INET6)
        address = "::"
    except OSError:  # a machine without IPv6
        probe = socket.socket(socket.AF_INET)
        address = ""
    with probe:
        # Connections of a former listener that are still fading away do no harm.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if probe.family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind((address, port))
        except OSError:
            if probe.family == socket.AF_INET:
                return False
            return _is_free_v4(port)
    return True


def _is_free_v4(port: int) -> bool:
    """The same where IPv6 is compiled in but switched off."""
    with socket.socket(socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
