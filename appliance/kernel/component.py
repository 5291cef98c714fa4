"""The component protocol of 2012: announce, discover, /varz, /healthz; /metrics is ours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import trio

from appliance.kernel.bus.codec import encode
from appliance.kernel.metrics import CONTENT_TYPE, PREFIX, exposition, samples, snake
from appliance.kernel.redact import is_secret, redact

if TYPE_CHECKING:
    from appliance.kernel.http.blob_plane import Blob, Exchange
    from appliance.kernel.kit import Kit

#: Keys that are left out of /varz at every level: those of the original, and ours.
SECRETS = {"mbus", "service_mbus", "keys", "database_environment", "password", "pass", "token"}
SECRETS |= {"credentials", "secret"}
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")

Varz = Callable[[], Mapping[str, object]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Announce:
    """Published once when a component starts; also the answer to `Discover`, with ``uptime``."""

    subject: ClassVar[str] = "vcap.component.announce"

    type: str  # Stager, DEA, CloudController, Router, HealthManager, …
    uuid: str
    host: str  # "ip:port" of /varz, /healthz and (ours) /metrics
    credentials: list[str]  # [user, password]
    start: str  # RFC 3339
    index: int | None = None
    uptime: str | None = None  # "0d:0h:0m:4s"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscoverComponents:
    """Every component answers with its `Announce`."""

    subject: ClassVar[str] = "vcap.component.discover"


class Component:
    """One component of this process: its identity, its two routes, its answers on the bus.

    A room with a server of its own adds `routes` to it and then starts `run`; the
    others call `serve_component`.

    Args:
      type_: The name other components know: Stager, DEA, CloudController, Router, …
      varz: What /varz tells besides the common figures; called at each request.
      config: The room's settings for /varz; secrets are removed.
      index: Which one of several of this type.
      counters: Keys of *varz* whose figures only grow, as /metrics has to tell.
      guarded: More paths for those with the credentials, and what is their JSON.
    """

    def __init__(
        self,
        kit: Kit,
        type_: str,
        *,
        varz: Varz = dict,
        config: object = None,
        index: int | None = None,
        counters: Collection[str] = (),
        guarded: Mapping[str, Varz] | None = None,
    ) -> None:
        self._kit = kit
        self._counters = counters
        self._varz = varz
        self._guarded = {"/varz": self.varz, **(guarded or {})}
        self._config = config
        self._started = trio.current_time()
        user, password = kit.status_login
        self.user, self.password = user or kit.ids.hex(32), password or kit.ids.hex(32)
        self._announce = Announce(
            type=type_,
            index=index,
            uuid=kit.ids.hex(32) if index is None else f"{index}-{kit.ids.hex(32)}",
            host="",
            credentials=[self.user, self.password],
            start=datetime.fromtimestamp(kit.clock.time(), UTC).isoformat(timespec="seconds"),
        )

    def routes(self, *, healthz: bool = True) -> list[Blob]:
        """``/varz``, ``/metrics`` and the guarded paths, for the room's own server.

        Args:
          healthz: Whether ``/healthz`` is among them; some servers have one for everybody.
        """
        from appliance.kernel.http.blob_plane import Blob

        return [
            *([Blob("GET", "/healthz", self._answer_healthz)] if healthz else ()),
            Blob("GET", "/metrics", self._answer_metrics),
            *(Blob("GET", path, self._answer_guarded) for path in self._guarded),
        ]

    async def run(
        self, url: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Announce this component as reachable at *url*, and answer whoever discovers."""
        self._announce = replace(self._announce, host=urlsplit(url).netloc.rpartition("@")[2])
        bus = self._kit.bus
        # The question itself is not decoded: the original's tools send an empty one.
        async with bus.subscribe(DiscoverComponents.subject) as questions:
            self._kit.publish(self._announce)
            task_status.started()
            async for question in questions:
                if question.reply:
                    answer = replace(self._announce, uptime=self._uptime())
                    bus.publish(question.reply, encode(answer), headers=self._kit.headers())

    def varz(self) -> dict[str, object]:
        """The body of /varz: identity, figures of the process, settings, specifics."""
        common: dict[str, object] = {
            "type": self._announce.type,
            "index": self._announce.index,
            "uuid": self._announce.uuid,
            "host": self._announce.host,
            "start": self._announce.start,
            "uptime": self._uptime(),
            "num_cores": os.cpu_count() or 1,
            "bus": self._kit.bus.figures(),
        }
        settings = {} if self._config is None else {"config": self._config}
        return {**common, **process_figures(), **without_secrets({**settings, **self._varz()})}

    def metrics(self) -> str:
        """The body of /metrics: the numbers of /varz, each with a name of its own."""
        labels = {"component": self._announce.type}
        if self._announce.index is not None:
            labels["index"] = str(self._announce.index)
        process = process_figures()
        common = {
            "ready": self._kit.health.ready(self._kit.room),
            "uptime_seconds": round(trio.current_time() - self._started, 3),
            "process_memory_bytes": process["mem"] * 1024,
            "process_cpu_percent": process["cpu"],
            "bus": self._kit.bus.figures(),
        }
        own = f"{PREFIX}_{snake(self._announce.type)}"
        return exposition(
            [
                *samples(PREFIX, common, ("lost", "dropped"), labels),
                *samples(own, self._varz(), self._counters, labels),
            ]
        )

    async def _answer_metrics(self, exchange: Exchange) -> None:
        self._authorize(exchange)
        await exchange.reply(200, self.metrics(), content_type=CONTENT_TYPE)

    async def _answer_guarded(self, exchange: Exchange) -> None:
        self._authorize(exchange)
        await exchange.reply(200, self._guarded[exchange.path]())

    async def _answer_healthz(self, exchange: Exchange) -> None:
        self._authorize(exchange)
        ready = self._kit.health.ready(self._kit.room)
        await exchange.reply(200 if ready else 503, "ok\n" if ready else "not ready\n")

    def _authorize(self, exchange: Exchange) -> None:
        from appliance.kernel.http.auth import basic_auth

        basic_auth(exchange.headers, self.user, self.password)

    def _uptime(self) -> str:
        return format_uptime(trio.current_time() - self._started)


async def serve_component(
    kit: Kit,
    type_: str,
    bind: str = "127.0.0.1:0",
    *,
    varz: Varz = dict,
    config: object = None,
    index: int | None = None,
    counters: Collection[str] = (),
    routes: Sequence[Blob] = (),
    guarded: Mapping[str, Varz] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve /varz, /healthz, /metrics and *routes* on a listener of their own, and announce it.

    ``started()`` gets the base URL. For rooms that have no HTTP server otherwise.
    """
    from appliance.kernel.http.server import serve_http

    me = Component(
        kit, type_, varz=varz, config=config, index=index, counters=counters, guarded=guarded
    )

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        blobs = [*me.routes(), *routes]
        await serve_http(None, bind, kit, blobs=blobs, task_status=task_status)

    async with trio.open_nursery() as serving:
        url = await serving.start(serve)
        async with trio.open_nursery() as answering:
            await answering.start(me.run, url)
            task_status.started(url)
            await kit.stopping.wait()
            answering.cancel_scope.cancel()
        # The server ends by itself, after the requests that it is in.


def format_uptime(seconds: float) -> str:
    """*seconds* as the original writes them, e.g. ``0d:0h:0m:4s``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day}d:{hour}h:{minute}m:{second}s"


def without_secrets(value: object) -> Any:
    """*value* as JSON builtins, without secret keys and without users in URLs, at every level."""
    import msgspec

    return _clean(msgspec.to_builtins(value, enc_hook=str))


def _clean(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items() if not _secret(str(key))}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return redact(_USER_IN_URL.sub("", value)) if isinstance(value, str) else value


def _secret(key: str) -> bool:
    return key.lower() in SECRETS or is_secret(key)


def process_figures() -> dict[str, float]:
    """``mem`` (KB) and ``cpu`` (percent of one core since the last call) of this process."""
    global _process
    import psutil  # 30 ms, and only asked for by /varz

    if _process is None:
        _process = psutil.Process()
    return {"mem": _process.memory_info().rss // 1024, "cpu": _process.cpu_percent()}


_process: Any = None  # cpu_percent() compares with the same object's last call
