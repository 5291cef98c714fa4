"""How long until it answers, and how much memory it takes: against a bare Quart-Trio app."""

from __future__ import annotations

import subprocess
import sys
import time
from urllib.request import urlopen

from benchmarks.appliance_process import APPLIANCE, free_port, up, wait_for
from benchmarks.table import median, table

ROUNDS = 5
BARE = """
import sys, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio
app = QuartTrio(__name__)
@app.get("/")
async def root():
    return {"ok": True}
config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.accesslog = config.errorlog = None
trio.run(serve, app, config)
"""


def bare() -> tuple[float, float]:
    """Seconds to the first answer, and MB, of the smallest app on the same stack."""
    import psutil

    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        took = time.perf_counter() - began
        return took, psutil.Process(process.pid).memory_full_info().pss / 1e6
    finally:
        process.kill()
        process.wait()


def version() -> float:
    """Seconds that ``appliance --version`` takes."""
    began = time.perf_counter()
    subprocess.run([APPLIANCE, "--version"], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    version(), bare()  # warm the caches
    with up():
        pass
    first, ready, memory, peer, peer_memory, versions = [], [], [], [], [], []
    for _ in range(ROUNDS):
        with up() as appliance:
            first.append(appliance.first_answer)
            ready.append(appliance.ready)
            # The web framework is loaded behind the open door: it counts, too.
            api = appliance.endpoints["api"]
            urlopen(f"{api}/v3/info").close()
            memory.append(appliance.memory())
        took, size = bare()
        peer.append(took)
        peer_memory.append(size)
        versions.append(version())
    against = median(peer)
    rows = [
        ("bare Quart-Trio app, first answer", f"{against:.2f} s", "1.00", ""),
        ("first answer", f"{median(first):.2f} s", f"{median(first) / against:.2f}", "0.40 s"),
        ("all rooms ready", f"{median(ready):.2f} s", f"{median(ready) / against:.2f}", "1.00 s"),
        ("--version", f"{median(versions) * 1000:.0f} ms", f"{median(versions) / against:.2f}",
         "100 ms"),
        ("bare Quart-Trio app, memory", f"{median(peer_memory):.0f} MB", "1.00", ""),
        ("idle memory, all rooms", f"{median(memory):.0f} MB",
         f"{median(memory) / median(peer_memory):.2f}", "80 MB"),
    ]  # fmt: skip
    print(table(("start", "median of 5", "against the bare app", "target"), rows))


if __name__ == "__main__":
    main()
