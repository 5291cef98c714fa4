"""The monitoring of the NATS listener, beside that of a nats-server."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.bus.listener.monitor import serve_monitor
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.kit import Kit
from appliance.kernel.trace import Trace
from tests.contract.wire_clients import PATIENCE, listening, raw, room


async def get(url: str) -> tuple[int, Any]:
    """Status and JSON (or text) of an answer over HTTP."""

    def fetch() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    status, body = await trio.to_thread.run_sync(fetch)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()


@asynccontextmanager
async def monitored() -> AsyncIterator[tuple[LocalBus, str, str]]:
    """A bus, the address of its listener, and that of its monitoring."""
    async with listening() as (bus, listener), trio.open_nursery() as nursery:
        kit = Kit(
            room="nats",
            bus=bus,
            http=None,  # type: ignore[arg-type]  # it calls nobody
            spawner=None,  # type: ignore[arg-type]
            trace=Trace("nats", []),
        )
        url = await nursery.start(serve_monitor, listener.hub, "127.0.0.1:0", kit)
        yield bus, listener.url, url
        kit.stopping.set()


@pytest.fixture
def nats_ports(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a real nats-server and of its monitoring."""
    program = shutil.which("nats-server")
    if program is None:
        pytest.skip("nats-server is not installed")
    options = ["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "--ports_file_dir", str(tmp_path)]
    with subprocess.Popen([program, *options], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not (files := [one for one in tmp_path.glob("*.ports") if one.stat().st_size]):
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(0.05)  # for the file to be whole
            ports = json.loads(files[0].read_text())
            yield ports["nats"][0], ports["monitoring"][0]
        finally:
            process.kill()


def shape(value: Any) -> Any:
    """The names of fields and the kinds of their values."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


#: Of what we do not have.
ABSENT = {"cluster", "gateway", "leaf", "mqtt", "websocket", "jetstream", "tls_timeout",
          "http_req_stats", "config_load_time", "system_account"}  # fmt: skip


async def test_monitoring_has_the_fields_of_a_nats_server(nats_ports: tuple[str, str]) -> None:
    """Same names, same kinds; what is left out belongs to what we do not have."""
    hello = (
        b'CONNECT {"verbose":false,"name":"me","lang":"x","version":"1"}\r\nSUB a q 1\r\nPING\r\n'
    )
    async with monitored() as (_, url, monitor):
        theirs_url, theirs_monitor = nats_ports
        async with raw(url, hello=hello), raw(theirs_url, hello=hello):
            for path in ("/varz", "/connz?subs=1", "/subsz", "/healthz"):
                _, ours = await get(monitor + path)
                _, theirs = await get(theirs_monitor + path)
                left_out = set(theirs) - set(ours)
                assert left_out <= ABSENT, path
                common = {name: value for name, value in theirs.items() if name in ours}
                assert shape({name: ours[name] for name in common}) == shape(common), path


async def test_monitoring_tells_what_happens() -> None:
    """Clients, their messages, and who listens: rooms have cid 0."""
    async with monitored() as (bus, url, monitor), room(bus, "svc", queue="rooms"):
        async with raw(url) as one, raw(url, hello=b"") as two:
            await one.say(b"SUB a 1\r\nSUB b q 2\r\nPUB a 5\r\nhello\r\n")
            await one.hear(b"hello\r\n")
            _, varz = await get(f"{monitor}/varz")
            assert (varz["connections"], varz["total_connections"]) == (2, 2)
            assert (varz["in_msgs"], varz["out_msgs"], varz["in_bytes"]) == (1, 1, 5)
            assert varz["subscriptions"] == 3
            assert varz["http_port"] == int(monitor.rpartition(":")[2])
            _, connz = await get(f"{monitor}/connz?sort=msgs_to&limit=1&subs=1")
            assert (connz["total"], connz["num_connections"]) == (2, 1)
            assert connz["connections"][0]["subscriptions_list"] == ["a", "b"]
            _, subsz = await get(f"{monitor}/subsz?subs=1")
            found = [
                (one["subject"], one.get("qgroup"), one["cid"], one["msgs"])
                for one in subsz["subscriptions_list"]
            ]
            assert found == [("a", None, 1, 1), ("b", "q", 1, 0), ("svc", "rooms", 0, 0)]
            await two.say(b"x")
            await two.rest()
        _, varz = await get(f"{monitor}/varz")
        assert (varz["in_msgs"], varz["total_connections"]) == (1, 2)


@pytest.mark.parametrize("question", ["connz?sort=no", "connz?limit=x", "subsz?subs=1&offset=-1"])
async def test_a_question_that_cannot_be_understood_is_a_bad_request(question: str) -> None:
    """And nothing worse."""
    async with monitored() as (_, _, monitor):
        status, _ = await get(f"{monitor}/{question}")
        assert status == 400
