"""Run a droplet on a DEA, as the first Cloud Foundry's controller did. Shares no code with the
appliance: NATS and HTTP are all that it knows.

    python start_droplet.py NATS_URL DROPLET HOST [RUNTIME]

Asks which DEA has room, orders it to start the droplet under the name HOST, waits until the
router is told, and stops it again when Enter is pressed (or input ends). RUNTIME is the name of
what runs it, ruby19 unless it is given.
"""

import asyncio
import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nats


class Store(BaseHTTPRequestHandler):
    """Serves the droplet to the DEA."""

    droplet = b""

    def do_GET(self) -> None:
        """Any path."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.droplet)))
        self.end_headers()
        self.wfile.write(self.droplet)

    def log_message(self, *_: object) -> None:
        """Quiet."""


async def main(nats_url: str, droplet: Path, host: str, runtime: str = "ruby19") -> None:
    """Start *droplet*, say where it answers, stop it."""
    Store.droplet = droplet.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sha1 = hashlib.sha1(Store.droplet).hexdigest()
    bus = await nats.connect(nats_url)
    registered: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    async def note(message: object) -> None:
        route = json.loads(message.data)
        if host in route["uris"]:
            await registered.put(route)

    await bus.subscribe("router.register", cb=note)
    limits = {"mem": 128, "disk": 256, "fds": 256}
    question = {"droplet": 1, "limits": limits, "runtime_info": {"name": runtime}}
    hello = json.loads((await bus.request("dea.discover", json.dumps(question).encode(), 5)).data)
    print(f"DEA {hello['id']} has room")
    order = {
        "droplet": 1,
        "index": 0,
        "name": "tutorial",
        "uris": [host],
        "version": f"{sha1}-1",
        "sha1": sha1,
        "executableFile": "/not/shared",
        "executableUri": f"http://127.0.0.1:{server.server_port}/droplet.tgz",
        "services": [],
        "env": ["GREETING=Hello"],
        "users": [],
        "runtime_info": {"name": runtime},
        "limits": limits,
        "cc_partition": "default",
    }
    await bus.publish(f"dea.{hello['id']}.start", json.dumps(order).encode())
    route = await asyncio.wait_for(registered.get(), 60)
    print(f"{host} is at {route['host']}:{route['port']}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await bus.publish("dea.stop", json.dumps({"droplet": 1}).encode())
    await bus.drain()
    server.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
