"""How long a push takes, from the command to the first 200, and where the time goes."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.appliance_process import APPLIANCE, Up, up
from benchmarks.table import median, table

ROUNDS = 5
SAMPLES = {"python-hello": 1.0, "flask-hello": 2.5}  # seconds that a warm push may take


def push(appliance: Up, sample: str) -> tuple[float, dict[str, Any]]:
    """Seconds of one push, and what it reports. It returns after the route's first answer."""
    began = time.perf_counter()
    done = subprocess.run(
        [APPLIANCE, "--api", appliance.endpoints["api"], "push", sample,
         str(Path("sample_apps") / sample), "--output", "json"],
        capture_output=True, check=False,
    )  # fmt: skip
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"push of {sample} failed: {done.stdout.decode()}{done.stderr.decode()}")
    return took, json.loads(done.stdout)


def main() -> None:
    """Measure and print."""
    rows, phases = [], []
    with up() as appliance:
        for sample, target in SAMPLES.items():
            first, _ = push(appliance, sample)
            warm = [push(appliance, sample) for _ in range(ROUNDS)]
            rows.append(
                (sample, f"{first:.2f} s", f"{median([t for t, _ in warm]):.2f} s", f"{target} s")
            )
            middle = sorted(warm, key=lambda one: one[0])[ROUNDS // 2][1]["phases"]
            phases += [(sample, phase, f"{ms:.0f} ms") for phase, ms in middle.items()]
    print(table(("push", "first", "warm, median of 5", "target (warm)"), rows))
    print()
    print(table(("push", "phase", "time in the median run"), phases))


if __name__ == "__main__":
    main()
