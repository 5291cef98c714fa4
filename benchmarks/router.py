"""How fast the router is, beside nginx in the same run: ``python -m benchmarks.router``.

One nginx with one worker is the app; another one with one worker is the contender,
`proxy_pass` with kept-alive connections in its common configuration. The router runs
in one process, with access lines switched on as for any app. wrk and curl ask, they
take turns, and each figure is the median of its rounds.

The router remembers heads that repeat, and wrk sends the same one again and again: so
it is asked a second time with heads of which no two are alike.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import psutil
import trio

from appliance.config import MIB, RouterConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import Spawner
from appliance.kernel.trace import Trace
from appliance.router.messages import RouterRegister
from appliance.router.service import serve
from benchmarks.table import median, table

ROUNDS = 5
SECONDS = 3  # of one round of small requests
CONNECTIONS = 16
LARGE = 100 * MIB  # bytes
HOST = "app.apps.localhost"
BAR_REQUESTS, BAR_BYTES = 0.40, 1.2  # of nginx

APP = """
worker_processes 1; daemon off; pid {folder}/app.pid; error_log {folder}/app.err;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000000;
    client_body_temp_path {folder}/a1; proxy_temp_path {folder}/a2;
    fastcgi_temp_path {folder}/a3; uwsgi_temp_path {folder}/a4; scgi_temp_path {folder}/a5;
    server {{
        listen 127.0.0.1:{app} backlog=1024;
        location = /json {{ default_type application/json; return 200 '{json}'; }}
        location / {{ root {folder}; }}
    }}
}}
"""
PROXY = """
worker_processes 1; daemon off; pid {folder}/proxy.pid; error_log {folder}/proxy.err;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000;
    client_body_temp_path {folder}/p1; proxy_temp_path {folder}/p2;
    fastcgi_temp_path {folder}/p3; uwsgi_temp_path {folder}/p4; scgi_temp_path {folder}/p5;
    upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{proxy} backlog=1024;
        location / {{
            proxy_pass http://app; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host $host;
        }}
    }}
}}
"""


DIFFERENT = """
local number = 0
request = function()
    number = number + 1
    return wrk.format("GET", "/json?" .. number)
end
"""
ALIKE, UNLIKE = "router", "router, no two heads alike"
APP_ITSELF, NGINX = "none: the app itself", "nginx proxy_pass"


def main() -> None:
    """Print both tables, and whether the router keeps its bars."""
    missing = [tool for tool in ("nginx", "wrk", "curl") if not shutil.which(tool)]
    if missing:
        print(f"Skipped: {', '.join(missing)} is not installed.")
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        app, proxy, router = (_free_port() for _ in range(3))
        _write(Path(folder), app, proxy)
        children = {
            APP_ITSELF: stack.enter_context(_nginx(Path(folder) / "app.conf", app)),
            NGINX: stack.enter_context(_nginx(Path(folder) / "proxy.conf", proxy)),
        }
        command = [sys.executable, "-m", "benchmarks.router", "--serve", str(router), str(app)]
        children[ALIKE] = children[UNLIKE] = stack.enter_context(_running(command, router))
        pids = {name: child.pid for name, child in children.items()}
        ports = {APP_ITSELF: app, NGINX: proxy, ALIKE: router, UNLIKE: router}
        _small(ports, pids, Path(folder) / "different.lua")
        _large({name: port for name, port in ports.items() if name != UNLIKE}, pids)


def _small(ports: dict[str, int], pids: dict[str, int], script: Path) -> None:
    seen: dict[str, list[Round]] = {name: [] for name in ports}
    for _ in range(ROUNDS):
        for name, port in ports.items():
            options = ["-s", str(script)] if name == UNLIKE else []
            seen[name].append(_wrk(port, options, pids[name]))
    rates = {name: median([each.rate for each in rounds]) for name, rounds in seen.items()}
    rows = [
        (
            name,
            f"{rates[name]:,.0f}",
            f"{rates[name] / rates[NGINX]:.2f}",
            f"{median([each.cpu for each in rounds]) * 1e6:.0f}",
            rounds[-1].p50,
            rounds[-1].p99,
        )
        for name, rounds in seen.items()
    ]
    print(table(("proxy", "requests/s", "of nginx", "CPU us each", "p50", "p99"), rows))
    _verdict(rates[ALIKE] / rates[NGINX], BAR_REQUESTS)


def _large(ports: dict[str, int], pids: dict[str, int]) -> None:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ports}
    for _ in range(ROUNDS):
        for name, port in ports.items():
            before = _cpu(pids[name])
            speed = _curl(port)
            seen[name].append((speed, (_cpu(pids[name]) - before) / (LARGE / 1e9)))
    speeds = {name: median([speed for speed, _ in rounds]) for name, rounds in seen.items()}
    rows = [
        (
            name,
            f"{speeds[name] / 1e6:,.0f}",
            f"{speeds[name] / speeds[NGINX]:.2f}",
            f"{median([cpu for _, cpu in rounds]):.2f}",
        )
        for name, rounds in seen.items()
    ]
    print(f"\nGET of {LARGE // MIB} MiB\n")
    print(table(("proxy", "MB/s", "of nginx", "CPU s per GB"), rows))
    _verdict(speeds[ALIKE] / speeds[NGINX], BAR_BYTES)


def _verdict(ratio: float, bar: float) -> None:
    print(f"\n{ratio:.2f} of nginx; the bar is {bar:.2f}: {'kept' if ratio >= bar else 'MISSED'}.")


class Round(NamedTuple):
    """What one round of wrk showed."""

    rate: float  # requests per second
    cpu: float  # seconds of the proxy for each request
    p50: str
    p99: str


def _wrk(port: int, options: list[str], pid: int) -> Round:
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", *options]
    command += ["-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/json"]
    before = _cpu(pid)
    text = _output(command)
    cpu = _cpu(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"The figures would be worth nothing:\n{text}")
    found = dict(re.findall(r"(50%|99%|Requests/sec:)\s+(\S+)", text))
    count = re.search(r"(\d+) requests in", text)
    assert count is not None
    return Round(float(found["Requests/sec:"]), cpu / int(count[1]), found["50%"], found["99%"])


def _cpu(pid: int) -> float:
    """Seconds of CPU that *pid* and its children have used."""
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def _curl(port: int) -> float:
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{speed_download} %{size_download}"]
    command += ["-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/large"]
    speed, size = _output(command).split()
    if int(size) != LARGE:
        raise SystemExit(f"curl received {size} bytes instead of {LARGE}.")
    return float(speed)


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _write(folder: Path, app: int, proxy: int) -> None:
    json = '{"message": "' + "x" * 312 + '"}'
    ports = {"folder": folder, "app": app, "proxy": proxy, "json": json}
    (folder / "app.conf").write_text(APP.format(**ports))
    (folder / "proxy.conf").write_text(PROXY.format(**ports))
    (folder / "different.lua").write_text(DIFFERENT)
    (folder / "large").write_bytes(bytes(LARGE))
    folder.chmod(0o755)  # nginx gives up root before it reads the file


def _nginx(config: Path, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return _running(["nginx", "-e", f"{config}.err", "-c", str(config)], port)


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """*command*, once it answers on *port*."""
    with subprocess.Popen(command) as child:
        try:
            give_up = time.monotonic() + 15
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if child.poll() is not None or time.monotonic() > give_up:
                        raise SystemExit(f"{command[0]} does not start.") from None
                    time.sleep(0.05)
            yield child
        finally:
            child.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _serve(port: int, app: int) -> None:
    """A router with one registered app."""
    http, bus = Client(), LocalBus()
    kit = Kit(
        room="router", bus=bus, http=http, spawner=cast(Spawner, None), trace=Trace("router", [])
    )
    config = RouterConfig(bind=f"127.0.0.1:{port}", stale_after=3600)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, config, kit))
        kit.publish(RouterRegister(host="127.0.0.1", port=app, uris=[HOST], app="benchmark"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        trio.run(_serve, int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
