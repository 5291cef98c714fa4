"""Lets the ssh room into instances: tickets on the bus, connections for whoever brings one."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace

import trio

from appliance.dea.dea import Dea
from appliance.dea.environment import environment, possible
from appliance.dea.errands import errand
from appliance.dea.life import Inside, Life
from appliance.dea.messages_ssh import BEGUN, REFUSED, WANT, OpenSession, SessionPlace, Wanted
from appliance.dea.session import Streams, Wire, attend
from appliance.kernel.bus.codec import Undecodable, decode
from appliance.kernel.errors import ApplianceError
from appliance.kernel.frames import BadFrame
from appliance.kernel.process.dialer import open_dialer
from appliance.kernel.process.enter import enter
from appliance.kernel.process.profile import HOME
from appliance.kernel.process.spawner import Child

TICKET_SECONDS = 20.0  # in which a ticket must be used
MOST = 256  # connections of one DEA at the same time
CONNECT_SECONDS = 10.0  # for a connection on behalf of a client
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Refused(ApplianceError):
    """What was wanted cannot be had; the sentence goes to the ssh client."""

    code, status = "session-refused", 409


@dataclass(frozen=True, slots=True)
class Ticket:
    """Lets one connection into one instance."""

    instance: str
    until: float  # on trio's clock


class Sessions:
    """The sessions in the instances of one DEA."""

    def __init__(self, dea: Dea) -> None:
        self._dea = dea
        self._kit = dea.shared.kit
        self._tickets: dict[str, Ticket] = {}
        self._port = 0
        self._open = 0

    def admit(self, question: OpenSession) -> SessionPlace | None:
        """A ticket for the instance that *question* names; None when none of ours is it."""
        now = trio.current_time()
        self._tickets = {key: one for key, one in self._tickets.items() if one.until > now}
        for life in self._dea.lives.values():
            instance = life.instance
            if (
                instance.droplet == question.droplet
                and instance.order.index == question.index
                and question.instance in (None, instance.id)
                and instance.state == "RUNNING"
            ):
                ticket = self._kit.ids.hex(32)
                self._tickets[ticket] = Ticket(instance.id, now + TICKET_SECONDS)
                host = self._dea.shared.config.host
                return SessionPlace(host=host, port=self._port, ticket=ticket, instance=instance.id)
        return None

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take connections until cancelled; their programs end with them."""
        (listener, *more) = await trio.open_tcp_listeners(0, host=self._dea.shared.config.host)
        for other in more:
            await other.aclose()
        self._port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection. That the other end has gone, or is no ssh room, ends only this."""
        wire = Wire(stream)
        self._open += 1
        try:
            async with stream:
                try:
                    if self._open > MOST:
                        raise Refused(f"More than {MOST} sessions are open.")
                    await self._attend(wire)
                except (Refused, Undecodable) as error:
                    await wire.send(REFUSED, str(error).encode())
        except* (BadFrame, Undecodable):
            pass
        finally:
            self._open -= 1

    async def _attend(self, wire: Wire) -> None:
        first = None
        with trio.move_on_after(TICKET_SECONDS):
            first = await wire.receive()
        if first is None or first[0] != WANT:
            return
        wanted = decode(first[1], Wanted)
        life, inside = self._redeem(wanted.ticket)
        streams = await self._begin(life, inside, wanted)
        about = {"instance": life.instance.id, "kind": kind_of(wanted)}
        self._kit.trace.event("session.opened", **about)
        pids = {streams.program.child.pid} if streams.program else set()
        life.instance.visitors |= pids
        try:
            await wire.send(BEGUN)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, inside.host, nursery.cancel_scope)
                await attend(wire, streams)
                nursery.cancel_scope.cancel()
        finally:
            await streams.aclose()
            life.instance.visitors -= pids
            self._kit.trace.event("session.closed", **about)

    def _redeem(self, ticket: str) -> tuple[Life, Inside]:
        known = self._tickets.pop(ticket, None)
        if known is None or known.until < trio.current_time():
            raise Refused("This ticket is not valid.")
        life = self._dea.lives.get(known.instance)
        if life is None or life.inside is None:
            raise Refused("The instance has ended.")
        return life, life.inside

    async def _begin(self, life: Life, inside: Inside, wanted: Wanted) -> Streams:
        if wanted.connect is not None:
            return Streams.of_connection(await self._connect(life, inside, *wanted.connect))
        task = errand(wanted)
        if task is None:
            raise Refused(f"There is no subsystem {wanted.subsystem!r}.")
        spawner = self._kit.spawner
        home = spawner.sandbox.inside(inside.profile, life.instance.folder)
        env = environment(life.instance, home) | possible(wanted.env)
        profile = replace(inside.profile, env=env, cwd=f"{HOME}/app")
        try:
            return Streams.of_program(await enter(spawner, inside.host, profile, task))
        except ApplianceError as error:
            raise Refused(str(error)) from error

    async def _connect(self, life: Life, inside: Inside, host: str, port: int) -> trio.SocketStream:
        """Connect as the instance itself would."""
        if not 0 < port < 65536:
            raise Refused(f"There is no port {port}.")
        try:
            with trio.fail_after(CONNECT_SECONDS):
                if not life.instance.isolated:
                    return await trio.open_tcp_stream(host, port)
                if host not in LOOPBACK:
                    raise OSError(errno.ENETUNREACH, "its network is its own")
                async with open_dialer(self._kit.spawner, inside.host, port) as dialer:
                    return trio.SocketStream(trio.socket.from_stdlib_socket(await dialer.dial()))
        except (OSError, ApplianceError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
        except trio.TooSlowError:
            why = f"no answer within {CONNECT_SECONDS:g} s"
        raise Refused(f"Cannot connect to {host}:{port}: {why}.")


async def _end_with(host: Child, scope: trio.CancelScope) -> None:
    await host.wait()
    scope.cancel()


def kind_of(wanted: Wanted) -> str:
    """What a session is, in a word; the command itself may hold secrets."""
    if wanted.connect is not None:
        return "connection"
    return wanted.subsystem or ("shell" if wanted.command is None else "command")
