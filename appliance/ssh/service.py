"""The ssh room: takes clients from the start, and loads what serves them with the first."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from appliance.config import SshConfig
from appliance.kernel.component import serve_component
from appliance.kernel.http.origin import ANY
from appliance.kernel.http.sockets import listen, split_bind
from appliance.kernel.kit import Kit
from appliance.ssh.gate import Gate
from appliance.ssh.host_key import HostKey, host_key
from appliance.ssh.messages import SshAdvertise, SshLocate
from appliance.ssh.thread import Thread

if TYPE_CHECKING:
    from appliance.ssh.server import Door

NO_FILES_SECONDS = 0.1  # before the next try when there is no descriptor left


@dataclass
class Room:
    """What the parts of the room share, on trio's thread."""

    config: SshConfig
    kit: Kit
    sockets: list[socket.socket]
    key: HostKey | None = None
    keyed: trio.Event = field(default_factory=trio.Event)
    thread: Thread | None = None
    clients: int = 0  # connected
    served: int = 0  # since the start
    left: trio.Event = field(default_factory=trio.Event)  # one has; replaced each time

    def gone(self) -> None:
        """A client has left."""
        self.clients -= 1
        self.left.set()
        self.left = trio.Event()


async def serve(
    config: SshConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Let people in until `kit.stopping`; ``started()`` gets ``ssh://HOST:PORT``."""
    room = Room(config, kit, listen(config.bind))
    try:
        async with trio.open_nursery() as background:
            await background.start(_locate, room)
            background.start_soon(_get_key, room)
            await background.start(
                partial(
                    serve_component,
                    kit,
                    "SSH",
                    config.status_bind,
                    varz=lambda: {"clients": room.clients, "clients_served": room.served},
                    config=asdict(config),
                )
            )
            for opened in room.sockets:
                background.start_soon(_accept, room, opened, background)
            host, port = room.sockets[0].getsockname()[:2]
            kit.health.mark(kit.room, "ready")
            kit.trace.event("ssh.listening", host=host, port=port)
            task_status.started(f"ssh://[{host}]:{port}" if ":" in host else f"ssh://{host}:{port}")
            try:
                await kit.stopping.wait()
                kit.health.mark(kit.room, "draining")
            finally:
                if room.thread is not None:
                    await room.thread.aclose()
            background.cancel_scope.cancel()
    finally:
        for opened in room.sockets:
            opened.close()
    kit.health.mark(kit.room, "stopped")


async def _get_key(room: Room) -> None:
    """Get the host key, and tell who we are. Clients that come earlier wait for it."""
    root = room.config.root
    room.key = await host_key(room.kit.spawner, None if root is None else Path(root))
    room.keyed.set()
    room.kit.trace.event("ssh.keyed", fingerprint=room.key.fingerprint)
    room.kit.publish(_about(room, room.key))


async def _locate(
    room: Room, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer those who look for us, as soon as there is a key."""
    async with room.kit.subscribe(SshLocate) as questions:
        task_status.started()
        async for question in questions:
            await room.keyed.wait()
            assert room.key is not None
            room.kit.respond(question, _about(room, room.key))


def _about(room: Room, key: HostKey) -> SshAdvertise:
    host, port = room.sockets[0].getsockname()[:2]
    if room.config.external:
        host, port = split_bind(room.config.external)
    return SshAdvertise(host="" if host in ANY else host, port=port, fingerprint=key.fingerprint)


async def _accept(room: Room, opened: socket.socket, nursery: trio.Nursery) -> None:
    """Take clients, as many at a time as may be."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(opened.dup()))
    async with listener:
        while True:
            while room.clients >= room.config.max_clients:
                await room.left.wait()
            try:
                stream = await listener.accept()
            except OSError:
                await trio.sleep(NO_FILES_SECONDS)
                continue
            room.clients += 1
            room.served += 1
            await room.keyed.wait()
            # The same connection under another number: asyncio's from now on.
            sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
            await trio.aclose_forcefully(stream)
            _thread(room, nursery).adopt(sock)


def _thread(room: Room, nursery: trio.Nursery) -> Thread:
    if room.thread is None:
        key = room.key
        assert key is not None

        def make_door(thread: Thread) -> Door:
            from appliance.ssh.server import Door

            return Door(thread, Gate(kit=room.kit), key, room.gone)

        room.thread = Thread(nursery, make_door)
        nursery.start_soon(room.thread.over)
    return room.thread
