"""Is the instance well, and does it want requests? Asked until it is, and again and again after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from appliance.dea.checks import Check, pauses
from appliance.dea.errors import NeverHealthy, NeverListened, StartFailed
from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.kit import Dial


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an instance is asked."""

    host: str
    port: int
    told: int  # the port that the app was given; another one when its network is its own
    dial: Dial | None = None  # the way there, when its network is its own


async def wait_until_healthy(check: Check, place: Place | None, http: Client) -> StartFailed | None:
    """None as soon as *check* is met, or why it was not within its time."""
    if place is None or not check.looks:
        return None
    last = ""
    with trio.move_on_after(check.timeout):
        await _until_listening(place)
        if check.kind == "port":
            return None
        for pause in pauses():
            last = await look(check, place, http)
            if not last:
                return None
            await trio.sleep(pause)
    if last:
        return NeverHealthy(check.timeout, last)
    return NeverListened(place.told, check.timeout)


async def until_unhealthy(check: Check, place: Place | None, http: Client) -> str:
    """What was wrong with an instance, which was well before, as soon as something is."""
    if place is None or not check.looks:
        await trio.sleep_forever()
    assert place is not None
    while True:
        await trio.sleep(check.interval)
        if wrong := await look(check, place, http):
            return wrong


async def follow_readiness(
    check: Check, place: Place, http: Client, tell: Callable[[bool], None]
) -> None:
    """Tell at each change whether requests may go to an instance, which are none at first."""
    while True:
        for pause in pauses():
            if not await look(check, place, http):
                break
            await trio.sleep(pause)
        tell(True)
        await until_unhealthy(check, place, http)
        tell(False)


async def look(check: Check, place: Place, http: Client) -> str:
    """ "" when *check* is met now; else what is wrong, in the words of Cloud Foundry."""
    if check.kind == "port":
        return await _knock(check, place)
    return await _get(check, place, http)


async def _until_listening(place: Place) -> None:
    knock = Check(kind="port")
    for pause in pauses():
        if not await _knock(knock, place):
            return
        await trio.sleep(pause)


async def _knock(check: Check, place: Place) -> str:
    failed = f"Failed to make TCP connection to port {place.told}"
    with trio.move_on_after(check.patience):
        try:
            stream = await _connect(place)
        except OSError:
            return f"{failed}: connection refused"
        # Not shaken hands politely: this is no client that the app should wait for.
        await trio.aclose_forcefully(stream)
        return ""
    return f"{failed}: timed out after {check.patience:.2f} seconds"


async def _connect(place: Place) -> trio.SocketStream:
    if place.dial is None:
        return await trio.open_tcp_stream(place.host, place.port)
    return trio.SocketStream(trio.socket.from_stdlib_socket(await place.dial()))


async def _get(check: Check, place: Place, http: Client) -> str:
    failed = f"Failed to make HTTP request to '{check.endpoint}' on port {place.told}"
    host = f"[{place.host}]" if ":" in place.host else place.host
    began = trio.current_time()
    url, patience = f"http://{host}:{place.port}{check.endpoint}", check.patience
    # The limit is ours, not the client's, so that its passing can be told from other failures.
    with trio.move_on_after(patience):
        try:
            answer = await http.request("GET", url, timeout=patience + 1)
        except HttpFailed as error:
            return f"{failed}: {str(error).removesuffix('.')}"
        if 200 <= answer.status < 400:
            return ""
        took = 1000 * (trio.current_time() - began)
        return f"{failed}: received status code {answer.status} in {took:.0f}ms"
    return f"{failed}: timed out after {check.patience:.2f} seconds"
