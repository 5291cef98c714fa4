"""What the sandbox adds to the start of a program: against the same program without it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import trio

from appliance.kernel.process.sandbox import Limits, Profile
from appliance.kernel.process.spawner import Spawner, open_spawner
from benchmarks.table import median, table

STARTS = 200


async def start(spawner: Spawner, home: Path, *, confined: bool) -> float:
    """Milliseconds until ``echo`` has spoken and ended."""
    argv: list[str | Path] = ["/bin/echo"]
    began = time.perf_counter()
    if confined:
        profile = Profile(name="bench", home=home, limits=Limits(), env={}, cwd="/home/vcap")
        command = spawner.sandbox.command(profile, argv)
        done = await spawner.run(command.argv, env=command.env, cwd=command.cwd, timeout=10)
    else:
        done = await spawner.run(argv, env={}, timeout=10)
    assert done.returncode == 0, done.stderr
    return (time.perf_counter() - began) * 1000


async def measure() -> tuple[str, list[float], list[float]]:
    """Starts with and without the sandbox, in turn."""
    plain, confined = [], []
    async with open_spawner("auto") as spawner:
        root = Path(tempfile.mkdtemp(prefix="bench-"))
        spawner.sandbox.make_root(root)
        home = root / "home"
        home.mkdir()
        await spawner.sandbox.hand_over(home)
        for _ in range(STARTS):
            plain.append(await start(spawner, home, confined=False))
            confined.append(await start(spawner, home, confined=True))
        await spawner.sandbox.remove(root)
        return spawner.sandbox.kind, plain, confined


def main() -> None:
    """Measure and print."""
    kind, plain, confined = trio.run(measure)
    added = median(confined) - median(plain)
    rows = [
        ("none", f"{median(plain):.1f} ms", "", ""),
        (kind, f"{median(confined):.1f} ms", f"{added:.1f} ms", "8 ms"),
    ]
    print(table(("sandbox", f"start and end, median of {STARTS}", "added", "target"), rows))


if __name__ == "__main__":
    main()
