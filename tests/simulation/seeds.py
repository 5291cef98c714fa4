"""Runs many seeds on all processors, and says what it takes to see one again."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.variants import ALONE, BROKEN, CORRECT, Variant
from tests.simulation.world import Outcome, simulate

VARIANTS = {variant.name: variant for variant in (CORRECT, *ALONE, *BROKEN)}


def run_one(job: tuple[int, str]) -> Outcome:
    """One seed of a variant; an exception of the archiver is a failure of the seed."""
    seed, name = job
    try:
        return simulate(seed, VARIANTS[name])
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        return Outcome(seed, [f"{type(error).__name__}: {error}\n{text[-3000:]}"])


def run_many(
    first: int, last: int, variant: Variant = CORRECT, jobs: int | None = None
) -> Iterator[Outcome]:
    """The outcomes of seeds *first* to *last* - 1, on all processors."""
    work = [(seed, variant.name) for seed in range(first, last)]
    with ProcessPoolExecutor(jobs or os.cpu_count(), get_context("spawn")) as pool:
        yield from pool.map(run_one, work, chunksize=5)


def explain(outcome: Outcome, variant: Variant = CORRECT) -> str:
    """What it takes to see a failing seed again."""
    why = "\n  ".join(outcome.failures[:5])
    name = "" if variant is CORRECT else f" --variant {variant.name!r}"
    return (
        f"seed {outcome.seed} at commit {commit()} fails:\n  {why}\n"
        f"again: python -m tests.simulation {outcome.seed} {outcome.seed + 1}{name}"
    )


def commit() -> str:
    """The commit that is checked out; "unknown" outside of a checkout."""
    git = Path(__file__).parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:12]
        return (git / head.removeprefix("ref: ")).read_text().strip()[:12]
    except OSError:
        return "unknown"
