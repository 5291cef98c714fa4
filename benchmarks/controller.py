"""The controller under clients: long lists, large uploads, several pushes at once."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.appliance_process import APPLIANCE, Up, up
from benchmarks.table import median, table

APPS = 1000
LOOKS = 50  # requests for each row
PUSHES = 6  # at once
LARGE = 1000 << 20  # bytes of one package
PIECE = 1 << 20  # bytes sent at a time
LISTS = {
    "50 apps of 1,000": "/v3/apps?per_page=50",
    "50 apps of 1,000, page 20": "/v3/apps?per_page=50&page=20",
    "50 apps, spaces and organizations": "/v3/apps?per_page=50&include=space,space.organization",
    "500 apps, spaces and organizations": "/v3/apps?per_page=500&include=space,space.organization",
    "1 app by name": "/v3/apps?names=app-500",
}


class Session:
    """A logged-in client on one connection."""

    def __init__(self, api: str) -> None:
        self.api = api
        self.connection = http.client.HTTPConnection(urlsplit(api).netloc)
        form = "grant_type=password&username=admin&password=admin"
        kind = "application/x-www-form-urlencoded"
        answer = self.send("POST", "/oauth/token", form.encode(), {"Content-Type": kind})
        self.headers = {"Authorization": f"bearer {answer['access_token']}"}

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        """One request; the answer's JSON."""
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()[:300]}")
        return json.loads(text) if text else None

    def call(self, method: str, path: str, value: object = None) -> Any:
        """One request with a JSON body."""
        body = None if value is None else json.dumps(value).encode()
        return self.send(method, path, body, self.headers)

    def app(self, name: str) -> str:
        """The guid of a new app."""
        space = self.call("GET", "/v3/spaces?names=dev")["resources"][0]["guid"]
        relations = {"space": {"data": {"guid": space}}}
        made = self.call("POST", "/v3/apps", {"name": name, "relationships": relations})
        return str(made["guid"])


def lists(session: Session) -> list[tuple[str, str, str]]:
    """How long each list takes, whole, on a connection that is open."""
    for number in range(APPS):
        session.app(f"app-{number}")
    rows = []
    for name, path in LISTS.items():
        times = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            session.call("GET", path)
            times.append(time.perf_counter() - began)
        rows.append((name, f"{median(times) * 1e3:.1f} ms", f"{max(times) * 1e3:.1f} ms"))
    return rows


@contextmanager
def highest(appliance: Up) -> Iterator[list[float]]:
    """MB of the appliance while the block runs: the most that was seen, at the end."""
    seen, stop = [appliance.memory()], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            seen.append(appliance.memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def upload(appliance: Up, session: Session) -> tuple[float, float]:
    """Seconds that a 1,000 MiB package takes, and the MB above idle that it cost at most."""
    app = session.app("large")
    relations = {"app": {"data": {"guid": app}}}
    package = session.call("POST", "/v3/packages", {"relationships": relations})["guid"]
    with tempfile.TemporaryDirectory() as folder:
        bits = Path(folder) / "package.zip"
        with (
            zipfile.ZipFile(bits, "w", zipfile.ZIP_STORED) as archive,
            archive.open("large.bin", "w", force_zip64=True) as file,
        ):
            for _ in range(LARGE // PIECE):
                file.write(os.urandom(PIECE))
        head = (
            b'--x\r\nContent-Disposition: form-data; name="resources"\r\n\r\n[]\r\n--x\r\n'
            b'Content-Disposition: form-data; name="bits"; filename="package.zip"\r\n\r\n'
        )
        tail = b"\r\n--x--\r\n"
        length = len(head) + bits.stat().st_size + len(tail)

        def pieces() -> Iterator[bytes]:
            yield head
            with bits.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
            yield tail

        idle = appliance.memory()
        with highest(appliance) as seen:
            began = time.perf_counter()
            session.connection.request(
                "POST",
                f"/v3/packages/{package}/upload",
                pieces(),
                session.headers
                | {
                    "Content-Type": "multipart/form-data; boundary=x",
                    "Content-Length": str(length),
                },
            )
            answer = session.connection.getresponse()
            text = answer.read().decode()
            took = time.perf_counter() - began
        if answer.status != 200:
            raise SystemExit(f"the upload failed: {answer.status} {text[:300]}")
    return took, max(seen) - idle


def pushes(appliance: Up) -> list[float]:
    """Seconds that each of several pushes at once took."""

    def push(number: int) -> float:
        began = time.perf_counter()
        subprocess.run(
            [APPLIANCE, "--api", appliance.endpoints["api"], "push", f"at-once-{number}",
             "sample_apps/python-hello"],
            capture_output=True, check=True,
        )  # fmt: skip
        return time.perf_counter() - began

    with ThreadPoolExecutor(PUSHES) as pool:
        return sorted(pool.map(push, range(PUSHES)))


def main() -> None:
    """Measure and print."""
    with up() as appliance:
        session = Session(appliance.endpoints["api"])
        print(table((f"list, median of {LOOKS}", "median", "slowest"), lists(session)))
        print("\n50 apps of 1,000: the bar is 20 ms.\n")
        took = pushes(appliance)
        print(
            f"{PUSHES} pushes of python-hello at once: the first after {took[0]:.2f} s, "
            f"the last after {took[-1]:.2f} s.\n"
        )
    with up() as appliance:
        seconds, memory = upload(appliance, Session(appliance.endpoints["api"]))
        print(
            f"1,000 MiB package: {seconds:.1f} s ({LARGE / seconds / 1e6:.0f} MB/s), "
            f"{memory:.0f} MB above idle at most (the bar is 30 MB)."
        )


if __name__ == "__main__":
    main()
