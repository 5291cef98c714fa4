"""Is the instance ready? Asked of its port or its HTTP endpoint until it is, or time is up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import trio

from appliance.dea.errors import NeverHealthy, NeverListened, StartFailed
from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.kit import Dial

FIRST_PAUSE = 0.020  # seconds between the first two looks
LONGEST_PAUSE = 0.500  # seconds
CONNECT_SECONDS = 1.0  # for one connection to be accepted
ANSWER_SECONDS = 5.0  # for one GET, unless the health check says other


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """How readiness is found out."""

    kind: Literal["process", "port", "http"]
    timeout: float = 60.0  # seconds in all
    endpoint: str = "/"  # http only
    answer_timeout: float = ANSWER_SECONDS  # http only, for one request


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an instance is asked."""

    host: str
    port: int
    told: int  # the port that the app was given; another one when its network is its own
    dial: Dial | None = None  # the way there, when its network is its own


def check_for(health_check: dict[str, Any] | None, port: int | None, timeout: float) -> Check:
    """The check that an order asks for. Without a port an instance is ready as it is.

    *timeout* counts unless the order has one of its own.
    """
    asked = health_check or {}
    kind = asked.get("type", "port")
    own = _seconds(asked.get("timeout"))
    if port is None or kind in ("process", "none"):
        return Check(kind="process", timeout=own or timeout)
    if kind != "http":
        return Check(kind="port", timeout=own or timeout)
    endpoint = asked.get("endpoint")
    return Check(
        kind="http",
        timeout=own or timeout,
        endpoint=endpoint if isinstance(endpoint, str) and endpoint.startswith("/") else "/",
        answer_timeout=_seconds(asked.get("invocation_timeout")) or ANSWER_SECONDS,
    )


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def pauses() -> Iterator[float]:
    """Seconds between two looks: soon at first, since most apps start fast, then seldom."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LONGEST_PAUSE, pause * 1.25)


async def wait_until_ready(check: Check, place: Place | None, http: Client) -> StartFailed | None:
    """None as soon as *check* is met, or why it was not within its time."""
    if check.kind == "process" or place is None:
        return None
    last = ""
    with trio.move_on_after(check.timeout):
        await _until_listening(place)
        if check.kind == "port":
            return None
        for pause in pauses():
            last = await _get(check, place, http)
            if not last:
                return None
            await trio.sleep(pause)
    if last:
        return NeverHealthy(check.endpoint, place.told, check.timeout, last)
    return NeverListened(place.told, check.timeout)


async def _until_listening(place: Place) -> None:
    for pause in pauses():
        with trio.move_on_after(CONNECT_SECONDS):
            try:
                stream = await _connect(place)
            except OSError:
                pass
            else:
                # Not shaken hands politely: this is no client that the app should wait for.
                await trio.aclose_forcefully(stream)
                return
        await trio.sleep(pause)


async def _connect(place: Place) -> trio.SocketStream:
    if place.dial is None:
        return await trio.open_tcp_stream(place.host, place.port)
    return trio.SocketStream(trio.socket.from_stdlib_socket(await place.dial()))


async def _get(check: Check, place: Place, http: Client) -> str:
    """ "" when the endpoint answers well, else what it did."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    try:
        answer = await http.request(
            "GET", f"http://{host}:{place.port}{check.endpoint}", timeout=check.answer_timeout
        )
    except HttpFailed as error:
        return str(error).removesuffix(".")
    return "" if 200 <= answer.status < 400 else f"status {answer.status}"
