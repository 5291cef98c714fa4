"""Tells systemd how we are, when it asked to be told (``Type=notify``)."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send *state* (``READY=1``, ``STOPPING=1``) to ``$NOTIFY_SOCKET``; without one, nothing.

    Source: sd_notify(3). An address that begins with "@" is in the abstract namespace.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), address)
    except OSError:
        return  # as sd_notify: who was to be told is gone
