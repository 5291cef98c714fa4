"""Ask a stager for a droplet, as the first Cloud Foundry's controller did. Shares no code with
the appliance: NATS and HTTP are all that it knows.

    python request_staging.py NATS_URL APP_FOLDER DROPLET [FRAMEWORK]

Serves the app as a zip, sends a request on ``staging``, takes the droplet that comes back,
and writes it to the file DROPLET. FRAMEWORK is the name of a staging plugin, sinatra unless it is
given; with "" the stager finds out by itself what the app is.
"""

import asyncio
import io
import json
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nats

RUBY = {"runtime_info": {"name": "ruby19", "executable": "/usr/bin/ruby", "version": "1.9"}}


def zipped(folder: Path) -> bytes:
    """The files of *folder* as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


class Controller(BaseHTTPRequestHandler):
    """The two endpoints that a stager needs of a controller."""

    package = b""
    droplet = b""

    def do_GET(self) -> None:
        """/download_unstaged_app/:id"""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.package)))
        self.end_headers()
        self.wfile.write(self.package)

    def do_POST(self) -> None:
        """/upload_droplet/:id/:upload_id takes a form with one file, upload[droplet]."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        part = body.split(b"--" + boundary)[1]
        Controller.droplet = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def request(own: str, framework: str) -> dict[str, object]:
    """The message; *own* is where this controller listens."""
    return {
        "app_id": "tutorial",
        "download_uri": f"{own}/download_unstaged_app/tutorial",
        "upload_uri": f"{own}/upload_droplet/tutorial/1",
        "properties": {
            "services": [],
            **(RUBY | {"framework_info": {"name": framework}} if framework else {}),
            "resources": {"memory": 128, "disk": 2048, "fds": 256},
            "environment": [],
            "meta": {},
        },
    }


async def main(nats_url: str, folder: Path, target: Path, framework: str = "sinatra") -> None:
    """Stage *folder* into *target*."""
    Controller.package = zipped(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Controller)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = f"http://127.0.0.1:{server.server_port}"
    question = json.dumps(request(own, framework)).encode()
    bus = await nats.connect(nats_url)
    reply = json.loads((await bus.request("staging", question, 60)).data)
    await bus.close()
    server.shutdown()
    print(reply["task_log"])
    if reply.get("error"):
        sys.exit(reply["error"])
    target.write_bytes(Controller.droplet)
    print(f"{target}: {len(Controller.droplet)} bytes")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:]))
