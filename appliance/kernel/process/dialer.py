"""Connects to programs in sandboxes whose loopback is their own.

A helper in the sandbox's network namespace hands out sockets that belong there; connected and
used they are here, as any other. Nothing is added to the sandbox, and nothing in it can reach
out by them.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.spawner import Child, Spawner
from appliance.kernel.process.usage import process_table, tree

HELPER = Path(__file__).with_name("dialer_helper.py")
HELPER_ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
PATIENCE = 10.0  # seconds for a sandbox and a helper to come up, which take 50 ms
PAUSE = 0.005  # seconds between two looks for the sandbox
AT_ONCE = 64  # sockets that are taken from the helper, at most; it gives fewer
CHUNK = 64 * 1024  # bytes


class Unreachable(ApplianceError):
    """The kernel does not let us into the sandbox's network."""

    code, status, exit_code = "network-unreachable", 500, 40


class Dialer:
    """Connects to one port of one sandbox. Get one from `open_dialer`."""

    def __init__(self, link: socket.socket, port: int) -> None:
        self._link = link
        self._port = port
        self._stock: list[socket.socket] = []  # not yet connected
        self._asking = trio.Lock()
        self._closed = False

    async def dial(self) -> socket.socket:
        """A connection, non-blocking, which the caller closes.

        Raises:
          OSError: nobody listens, or the sandbox has ended.
        """
        while not self._stock:
            async with self._asking:
                if not self._stock:
                    await self._refill()
        sock = self._stock.pop()
        try:
            code = sock.connect_ex(("127.0.0.1", self._port))
            if code == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            if sock.getsockname() == sock.getpeername():
                raise _nobody()  # a free port of the ephemeral range can meet itself
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Give the stock back; who dials from now on is told that nobody is there."""
        self._closed = True
        trio.lowlevel.notify_closing(self._link)
        self._link.close()
        for sock in self._stock:
            sock.close()
        self._stock.clear()

    async def _refill(self) -> None:
        if self._closed:
            raise _nobody()
        try:
            self._link.send(b"?")
            # Not cancelled in between: an answer that nobody takes would be the next one's.
            with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(self._link)
            _, numbers, _, _ = socket.recv_fds(
                self._link, 16, AT_ONCE, flags=socket.MSG_CMSG_CLOEXEC
            )
        except (trio.TooSlowError, trio.ClosedResourceError, OSError):
            raise _nobody() from None
        made = [socket.socket(fileno=number) for number in numbers]
        if not made or self._closed:
            for sock in made:
                sock.close()
            raise _nobody()
        for sock in made:
            sock.setblocking(False)
        self._stock += made


@asynccontextmanager
async def open_dialer(spawner: Spawner, child: Child, port: int) -> AsyncIterator[Dialer]:
    """Connect to *port* of the sandbox of *child*, which has a network namespace of its own.

    Raises:
      Unreachable: there is no such namespace, or we may not enter it.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    dialer = Dialer(ours, port)
    helper: Child | None = None
    try:
        try:
            with theirs, trio.fail_after(PATIENCE):
                helper = await _helper(spawner, child, theirs)
                theirs.close()
                await trio.lowlevel.wait_readable(ours)
        except trio.TooSlowError:
            raise Unreachable(f"The app's own network was not there in {PATIENCE:g} s.") from None
        said = ours.recv(200).decode("utf-8", "replace")
        if said != "ok":
            raise Unreachable(f"The app's own network cannot be entered: {said or 'no answer'}.")
        yield dialer
    finally:
        dialer.close()
        if helper is not None:
            await helper.aclose()


async def _helper(spawner: Spawner, child: Child, link: socket.socket) -> Child:
    namespace = await _namespace(spawner, child)
    try:
        return await spawner.spawn(
            [sys.executable, "-I", "-S", HELPER, str(namespace), str(link.fileno())],
            env=HELPER_ENV,
            stdout="null",
            stderr="null",
            pass_fds=(namespace, link.fileno()),
        )
    finally:
        os.close(namespace)


async def _namespace(spawner: Spawner, child: Child) -> int:
    """A descriptor of the namespace, as soon as there is one."""
    while child.returncode is None:
        found = await spawner.call(partial(_find, child.pid))
        if found is not None:
            return found
        await trio.sleep(PAUSE)
    raise Unreachable("The app has ended before it began.")


def _nobody() -> OSError:
    return OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def _find(root: int) -> int | None:
    """Open the network namespace of whoever is below *root* and not in ours."""
    ours = os.stat("/proc/self/ns/net")
    for process in tree(root, process_table()):
        with suppress(OSError):
            number = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            if not os.path.samestat(os.fstat(number), ours):
                return number
            os.close(number)
    return None


async def relay(dialer: Dialer, listener: trio.SocketListener) -> None:
    """Lead whoever connects to *listener* to the sandbox, until cancelled."""

    async def lead(outside: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async with outside:
                inside = trio.SocketStream(trio.socket.from_stdlib_socket(await dialer.dial()))
                async with inside, trio.open_nursery() as both:
                    both.start_soon(_copy, outside, inside, both.cancel_scope)
                    both.start_soon(_copy, inside, outside, both.cancel_scope)

    await trio.serve_listeners(lead, [listener])


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    """Copy until *source* ends, and tell *sink* so; an error ends both ways."""
    try:
        while data := await source.receive_some(CHUNK):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, OSError):
        both.cancel()
