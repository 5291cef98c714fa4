"""What a listener has to tell, in the words of nats-server's monitoring. Pure.

Names of fields are its own, times are RFC 3339, and durations are the words that Go
writes. Of what does not exist here (routes, gateways, JetStream) there is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.kernel.bus.listener.hub import Hub
from appliance.kernel.bus.listener.options import PROTOCOL, VERSION
from appliance.kernel.bus.listener.session import Session, Subscription
from appliance.kernel.errors import BadRequest

PAGE = 1024  # connections or subscriptions in one answer, unless asked otherwise

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """When the question was asked."""

    now: float  # on the clock of the sessions
    wall: float  # seconds since 1970, at the same time

    def at(self, then: float) -> str:
        """The wall time of *then*, which is on the clock of the sessions."""
        moment = datetime.fromtimestamp(self.wall - self.now + then, UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def since(self, then: float) -> str:
        """How long ago *then* was, e.g. ``1h2m3s``."""
        return duration(self.now - then)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the process takes, all rooms included."""

    memory: int  # bytes
    cpu: float  # per cent of one core, over the life of the process
    cores: int


def varz(hub: Hub, moment: Moment, began: float, usage: Usage, http: tuple[str, int]) -> Json:
    """``/varz``: limits and totals."""
    options = hub.options
    about: Json = {
        "server_id": hub.server_id,
        "server_name": "appliance",
        "version": VERSION,
        "proto": PROTOCOL,
        "go": "",
        "host": hub.host,
        "port": hub.port,
        "max_connections": options.max_connections,
        "max_subscriptions": options.max_subscriptions,
        "ping_interval": _nanoseconds(options.ping_interval),
        "ping_max": options.ping_max,
        "http_host": http[0],
        "http_port": http[1],
        "http_base_path": "",
        "https_port": 0,
        "auth_timeout": options.auth_timeout,
        "max_control_line": options.max_control_line,
        "max_payload": hub.max_payload,
        "max_pending": options.max_pending,
        "write_deadline": _nanoseconds(options.write_deadline),
        "start": moment.at(began),
        "now": moment.at(moment.now),
        "uptime": moment.since(began),
        "mem": usage.memory,
        "cores": usage.cores,
        "gomaxprocs": usage.cores,
        "cpu": round(usage.cpu, 1),
        "connections": len(hub.sessions),
        "total_connections": hub.connections,
        "routes": 0,
        "remotes": 0,
        "leafnodes": 0,
        "slow_consumers": hub.slow_consumers,
        "subscriptions": sum(1 for _ in hub.bus.subscriptions()),
    }
    return about | asdict(hub.totals()) | hub.demands()


#: ``sort=`` of /connz. Text is sorted upwards, figures downwards, as nats-server does.
_SORTS: dict[str, tuple[Callable[[Session], Any], bool]] = {
    "cid": (lambda session: session.cid, False),
    "start": (lambda session: session.cid, False),
    "subs": (lambda session: len(session.subscriptions), True),
    "pending": (lambda session: session.pending, True),
    "msgs_to": (lambda session: session.counters.out_msgs, True),
    "msgs_from": (lambda session: session.counters.in_msgs, True),
    "bytes_to": (lambda session: session.counters.out_bytes, True),
    "bytes_from": (lambda session: session.counters.in_bytes, True),
    "last": (lambda session: session.active, True),
    "idle": (lambda session: session.active, False),
    "uptime": (lambda session: session.began, False),
    "rtt": (lambda session: session.rtt, True),
}


def connz(hub: Hub, moment: Moment, query: Mapping[str, str]) -> Json:
    """``/connz``: the clients; ``?sort= &limit= &offset= &subs=1 &cid=``.

    Raises:
      BadRequest: an unknown order, or a number that is none.
    """
    order = query.get("sort") or "cid"
    if order not in _SORTS:
        raise BadRequest(f"invalid sorting option: {order}")
    key, downwards = _SORTS[order]
    sessions = sorted(hub.sessions.values(), key=key, reverse=downwards)
    if cid := _number(query, "cid", 0):
        sessions = [session for session in sessions if session.cid == cid]
    total = len(sessions)
    offset, limit = _number(query, "offset", 0), _number(query, "limit", PAGE) or PAGE
    page = sessions[offset : offset + limit]
    with_subscriptions = _wanted(query, "subs")
    return {
        "server_id": hub.server_id,
        "now": moment.at(moment.now),
        "num_connections": len(page),
        "total": total,
        "offset": offset,
        "limit": limit,
        "connections": [_connection(session, moment, with_subscriptions) for session in page],
    }


def _connection(session: Session, moment: Moment, with_subscriptions: bool) -> Json:
    client = session.client
    about: Json = {
        "cid": session.cid,
        "kind": "Client",
        "type": "nats",
        "ip": session.address[0],
        "port": session.address[1],
        "start": moment.at(session.began),
        "last_activity": moment.at(session.active),
        "rtt": duration(session.rtt),
        "uptime": moment.since(session.began),
        "idle": moment.since(session.active),
        "pending_bytes": session.pending,
        **asdict(session.counters),
        "subscriptions": len(session.subscriptions),
        "name": client.name,
        "lang": client.lang,
        "version": client.version,
    }
    if with_subscriptions:
        about["subscriptions_list"] = [one.pattern for one in session.subscriptions.values()]
    return {key: value for key, value in about.items() if value != ""}


def subsz(hub: Hub, moment: Moment, query: Mapping[str, str]) -> Json:
    """``/subsz``: how many listen; who, with ``?subs=1 &limit= &offset=``. Rooms have cid 0."""
    listed = [
        _subscription(pattern, queue, receiver)
        for pattern, queue, receiver in hub.bus.subscriptions()
    ]
    about: Json = {
        "server_id": hub.server_id,
        "now": moment.at(moment.now),
        "num_subscriptions": len(listed),
        "num_cache": 0,
        "num_inserts": 0,
        "num_removes": 0,
        "num_matches": 0,
        "cache_hit_rate": 0,
        "max_fanout": 0,
        "avg_fanout": 0,
    }
    if _wanted(query, "subs"):
        offset, limit = _number(query, "offset", 0), _number(query, "limit", PAGE) or PAGE
        listed.sort(key=lambda one: (one["subject"], one["cid"]))
        about |= {"total": len(listed), "offset": offset, "limit": limit}
        about["subscriptions_list"] = listed[offset : offset + limit]
    return about


def _subscription(pattern: str, queue: str, receiver: object) -> Json:
    about: Json = {"account": "$G", "subject": pattern}
    if queue:
        about["qgroup"] = queue
    if isinstance(receiver, Subscription):
        about |= {"sid": receiver.sid, "msgs": receiver.delivered, "cid": receiver.session.cid}
        return about | ({"max": receiver.limit} if receiver.limit else {})
    return about | {"sid": "", "msgs": 0, "cid": 0}


def _wanted(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true", "detail")


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} = {text[:40]!r}: must be a number.")
    return int(text)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def duration(seconds: float) -> str:
    """*seconds* as Go writes them: ``1d2h3m4s``, and below a second ``1.5ms`` or ``12µs``."""
    if seconds <= 0:
        return "0s"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g}ms"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while not parts[0][0] and len(parts) > 1:
        del parts[0]
    return "".join(f"{count}{unit}" for count, unit in parts)
