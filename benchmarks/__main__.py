"""Run the benchmarks that are named, or all."""

from __future__ import annotations

import importlib
import sys

ALL = (
    "startup",
    "boot",
    "sandbox",
    "push",
    "cf_push",
    "controller",
    "bus",
    "nats_bus",
    "nats_wire",
    "router",
)


def main(names: list[str]) -> None:
    """Print one table after the other."""
    for name in names or ALL:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
