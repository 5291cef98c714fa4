"""Listening sockets, bound before the heavy imports so that early clients wait and are served."""

from __future__ import annotations

import errno
import os
import socket

from appliance.kernel.errors import ConfigError, Unavailable

BACKLOG = 1024  # connections that may wait for accept()


class PortTaken(Unavailable):
    """Another process listens there; the sentence names it."""

    code = "port-taken"
    hint = "Stop it, or choose another port; port 0 takes a free one."


def split_bind(bind: str) -> tuple[str, int]:
    """``"127.0.0.1:7700"`` or ``"[::1]:0"`` as host and port.

    Raises:
      ConfigError: no port, or one above 65535.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError("bind", bind, "must be HOST:PORT, with a port from 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(bind: str) -> list[socket.socket]:
    """Listening sockets for *bind*, one per address of its host, all on the same port.

    ``fd://N`` takes over a descriptor that listens already (hand it over with
    ``socket.detach()``): it is closed when the server ends. There may be several,
    with commas between them.

    Raises:
      PortTaken: somebody else listens there.
      ConfigError: *bind* cannot be understood, or the address is not this machine's.
    """
    if bind.startswith("fd://"):
        descriptors = [int(one.strip().removeprefix("fd://")) for one in bind.split(",")]
        taken_over = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for opened in taken_over:
            opened.setblocking(False)
        return taken_over
    host, port = split_bind(bind)
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ConfigError("bind", bind, f"the host is unknown ({error.strerror})") from error
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            # With port 0 the first address chooses, and the others follow it.
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.extend(
                _open(family, (address[0], chosen, *address[2:]), optional=bool(sockets))
            )
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _open(family: int, address: tuple[object, ...], *, optional: bool) -> list[socket.socket]:
    opened: socket.socket | None = None
    try:
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        if opened is not None:
            opened.close()
        if error.errno == errno.EADDRINUSE:
            raise taken(str(address[0]), int(str(address[1]))) from error
        if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return []  # "localhost" on a machine without IPv6
        raise ConfigError(
            "bind", f"{address[0]}:{address[1]}", f"cannot listen there ({error.strerror})"
        ) from error
    return [opened]


def taken(host: str, port: int) -> PortTaken:
    """The error for an address in use, with the holder's name where it can be found out."""
    holder = _holder(port)
    return PortTaken(f"{host}:{port} is taken" + (f" by {holder}." if holder else "."))


def _holder(port: int) -> str:
    import psutil  # 30 ms, and only ever needed for this sentence

    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port:
                if connection.pid is None:
                    return "a process of another user"
                if connection.pid == os.getpid():
                    return f"this process (pid {connection.pid})"
                command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                return f"pid {connection.pid} ({command})"
    except (psutil.Error, OSError):
        return ""
    return ""


def url(opened: socket.socket) -> str:
    """``http://HOST:PORT`` of a listening socket, in the form that a local client can use."""
    host, port = opened.getsockname()[:2]
    # Nobody can connect to "all addresses"; loopback is one of them.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
