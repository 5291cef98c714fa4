"""``cf push``: its recorded calls one by one, and the CLI itself where there is one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.appliance_process import Up, up
from benchmarks.controller import Session
from benchmarks.table import median, table

ROUNDS = 7
FILES = 10
SHARE = 0.400  # seconds that the server may take for all calls of a warm push
WALL = 3.0  # seconds that a warm push may take with the CLI
SERVER = """
import http.server, os
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("", int(os.environ["PORT"])), Hello).serve_forever()
"""


def write_app(folder: Path) -> dict[str, bytes]:
    """An app of ten files without dependencies."""
    files = {"app.py": SERVER.encode()}
    files |= {f"module{n}.py": f"VALUE = {n}\n".encode() * 50 for n in range(FILES - 1)}
    for name, text in files.items():
        (folder / name).write_bytes(text)
    return files


class Push:
    """One push, call by call as cf 8.18 makes them; *spent* is what the server took."""

    def __init__(self, session: Session, name: str, files: dict[str, bytes]) -> None:
        self.session, self.name, self.files = session, name, files
        self.spent: dict[str, float] = {}

    def call(self, method: str, path: str, value: object = None) -> Any:
        """One call with JSON, timed."""
        return self._timed(f"{method} {_general(path)}", lambda: self._json(method, path, value))

    def run(self) -> float:
        """The whole push; seconds in the server."""
        space = self.call("GET", "/v3/spaces?names=dev")["resources"][0]["guid"]
        self.spent.clear()  # that was the login's
        manifest = {"applications": [{"name": self.name, "default-route": True, "memory": "64M"}]}
        self._manifest(space, manifest)
        app = self.call("GET", f"/v3/apps?names={self.name}&space_guids={space}")["resources"][0]
        guid, relation = app["guid"], {"app": {"data": {"guid": app["guid"]}}}
        listed = [_resource(name, text) for name, text in self.files.items()]
        matched = self.call("POST", "/v3/resource_matches", {"resources": listed})["resources"]
        package = self.call("POST", "/v3/packages", {"type": "bits", "relationships": relation})
        known = {one["path"] for one in matched}
        self._upload(
            package["guid"], matched, {k: v for k, v in self.files.items() if k not in known}
        )
        build = self.call("POST", "/v3/builds", {"package": {"guid": package["guid"]}})
        while build["state"] == "STAGING":
            build = self.call("GET", f"/v3/builds/{build['guid']}")
        droplet = self.call("GET", f"/v3/droplets/{build['droplet']['guid']}")
        current = f"/v3/apps/{guid}/relationships/current_droplet"
        self.call("PATCH", current, {"data": {"guid": droplet["guid"]}})
        self.call("POST", f"/v3/apps/{guid}/actions/restart")
        processes = self.call("GET", f"/v3/apps/{guid}/processes")["resources"]
        for process in processes:
            self._started(process["guid"])
        self._summary(guid)
        return sum(self.spent.values())

    def _started(self, process: str) -> None:
        while True:
            instances = self.call("GET", f"/v3/processes/{process}/stats")["resources"]
            if not instances or any(one["state"] == "RUNNING" for one in instances):
                return

    def _summary(self, app: str) -> None:
        self.call("GET", f"/v3/apps?guids={app}")
        for process in self.call("GET", f"/v3/apps/{app}/processes")["resources"]:
            own = f"/v3/processes/{process['guid']}"
            for path in (own, f"{own}/sidecars", f"{own}/stats"):
                self.call("GET", path)
        self.call("GET", f"/v3/apps/{app}/routes")
        self.call("GET", f"/v3/apps/{app}/droplets/current")
        query = "order_by=-created_at&page=1&per_page=1&status_values=ACTIVE"
        self.call("GET", f"/v3/deployments?app_guids={app}&{query}")

    def _manifest(self, space: str, manifest: object) -> None:
        def send() -> None:
            path = f"/v3/spaces/{space}/actions/apply_manifest"
            kind = {"Content-Type": "application/x-yaml"}
            connection = self.session.connection
            body = json.dumps(manifest).encode()  # JSON is YAML
            connection.request("POST", path, body, self.session.headers | kind)
            answer = connection.getresponse()
            answer.read()
            self.job = (answer.headers["Location"] or "").partition("/v3/")[2]

        self._timed("POST apply_manifest", send)
        while self.call("GET", f"/v3/{self.job}")["state"] == "PROCESSING":
            pass

    def _upload(self, package: str, matched: list[Any], files: dict[str, bytes]) -> None:
        parts = [_field("resources", json.dumps(matched).encode())]
        if files:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in files.items():
                    archive.writestr(name, text)
            parts.append(_field("bits", buffer.getvalue(), '; filename="package.zip"'))
        body = b"".join(parts) + b"--x--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        path = f"/v3/packages/{package}/upload"
        self._timed(
            "POST upload",
            lambda: self.session.send("POST", path, body, self.session.headers | kind),
        )

    def _json(self, method: str, path: str, value: object) -> Any:
        return self.session.call(method, path, value)

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.spent[name] = self.spent.get(name, 0) + time.perf_counter() - began


def _general(path: str) -> str:
    parts = path.partition("?")[0].split("/")
    return "/".join(":guid" if part.count("-") == 4 else part for part in parts)


def _resource(name: str, text: bytes) -> dict[str, object]:
    sha1 = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return {
        "path": name,
        "mode": "644",
        "checksum": {"value": sha1},
        "size_in_bytes": len(text),
    }


def _field(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def with_cli(appliance: Up, folder: Path) -> list[float]:
    """Seconds of warm pushes with the CLI, or nothing where there is none."""
    cf = shutil.which("cf")
    if cf is None:
        return []
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"CF_HOME": home}

        def run(*words: str) -> float:
            began = time.perf_counter()
            subprocess.run([cf, *words], env=env, cwd=folder, capture_output=True, check=True)
            return time.perf_counter() - began

        run("api", appliance.endpoints["api"])
        run("login", "-u", "admin", "-p", "admin", "-o", "dev", "-s", "dev")
        run("push", "cli")
        return [run("push", "cli") for _ in range(ROUNDS)]


def main() -> None:
    """Measure and print."""
    with up() as appliance, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_app(folder)
        session = Session(appliance.endpoints["api"])
        first = Push(session, "replayed", files).run()
        warm = []
        for _ in range(ROUNDS):
            push = Push(session, "replayed", files)
            warm.append((push.run(), push.spent))
        middle = sorted(warm, key=lambda one: one[0])[ROUNDS // 2][1]
        slowest = sorted(middle.items(), key=lambda one: -one[1])[:8]
        rows = [(call, f"{seconds * 1e3:.0f} ms") for call, seconds in slowest]
        print(table(("call of the median warm push", "time in the server"), rows))
        share = median([seconds for seconds, _ in warm])
        print(f"\nAll calls: first {first * 1e3:.0f} ms, warm {share * 1e3:.0f} ms", end="")
        print(f" (median of {ROUNDS}; the bar is {SHARE * 1e3:.0f} ms).")
        if walls := with_cli(appliance, folder):
            print(f"The CLI, warm: {median(walls):.2f} s (the bar is {WALL:.1f} s).")
        else:
            print("The CLI itself is not here.")


if __name__ == "__main__":
    main()
