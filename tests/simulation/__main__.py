"""Runs seeds and prints what was found: ``python -m tests.simulation 0 200``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.seeds import VARIANTS, explain, run_many
from tests.simulation.variants import CORRECT


def main() -> int:
    """Run what the command line says; 1 when a seed has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("first", type=int, help="first seed")
    parser.add_argument("last", type=int, help="seed to end before")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default=CORRECT.name)
    parser.add_argument("--jobs", type=int, help="processes; one for each processor otherwise")
    parser.add_argument("--trace", action="store_true", help="print each seed's digest of events")
    options = parser.parse_args()
    variant, began = VARIANTS[options.variant], time.monotonic()
    counts: Counter[str] = Counter()
    failed = []
    for outcome in run_many(options.first, options.last, variant, options.jobs):
        counts.update(outcome.counts)
        if options.trace:
            print(outcome.seed, outcome.trace)
        if outcome.failures:
            failed.append(outcome.seed)
            print(explain(outcome, variant), flush=True)
    for what, count in sorted(counts.items()):
        print(f"{count:9,} {what}")
    seconds = time.monotonic() - began
    print(
        f"{options.last - options.first} seeds of {variant.name!r} in {seconds:.0f} s: "
        f"{len(failed)} failed {failed[:20]}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
