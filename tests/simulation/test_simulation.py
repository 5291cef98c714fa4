"""The archivers survive every seed; and the simulation notices when something is taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.seeds import explain, run_many, run_one
from tests.simulation.variants import ALONE, BROKEN, CORRECT, Variant

SEEDS = 100
SOAK_SEEDS = 20_000
ALONE_SEEDS = 8

#: Within how many seeds each broken variant must be found; several times what it takes.
FOUND_WITHIN = {"no digest check on GET": 40, "have it too early": 60}
FOUND_SOON = 6

#: What must have happened somewhere, or the seeds have proved nothing about it.
REACHED = (
    "kill", "power cut", "partition", "lost request", "lost reply", "repeated request",
    "broken body", "full disk", "read-only disk", "refused: no room", "refused: no room for a row",
    "refused: read-only", "failed fsync", "failed commit", "bit flip", "unreadable file",
    "torn file", "clock jump", "start refused",
    "crash at store.checked", "crash at store.renamed", "crash at store.settled",
    "crash at store.committed", "crash at store.forgotten", "crash at replicas.sent",
    "acknowledged", "read", "deleted", "replica.sent", "replica.had", "replica.refused",
    "replica.unsent", "replica.fetched", "deletion.sent", "droplet.damaged", "droplets.lost",
    "droplets.scrubbed", "peer.lost", "peer.recovered", "peer.reconciled", "replication.failed",
    "reconciliation.failed",
)  # fmt: skip


def survive(first: int, last: int, variant: Variant = CORRECT) -> Counter[str]:
    """Run the seeds, and fail with the first that fails; returns what happened in all."""
    counts: Counter[str] = Counter()
    for outcome in run_many(first, last, variant):
        assert not outcome.failures, explain(outcome, variant)
        counts.update(outcome.counts)
    return counts


def test_every_seed_ends_well() -> None:
    """All faults, all seeds: nothing acknowledged is lost, and every fault was met."""
    counts = survive(0, SEEDS)
    assert not [what for what in REACHED if not counts[what]]


@pytest.mark.soak
def test_twenty_thousand_seeds_end_well() -> None:
    """The same, for a night; the figures are for docs/reliability.md."""
    counts = survive(SEEDS, SEEDS + SOAK_SEEDS)
    for what, count in sorted(counts.items()):
        print(f"{count:12,} {what}")


@pytest.mark.parametrize("variant", ALONE, ids=lambda variant: variant.name)
def test_each_repair_alone_is_enough(variant: Variant) -> None:
    """One mechanism hides the bugs of another, so each must do without the others."""
    survive(0, ALONE_SEEDS, variant)


@pytest.mark.parametrize("variant", BROKEN, ids=lambda variant: variant.name)
def test_finds_what_is_broken(variant: Variant) -> None:
    """With one thing taken away some seed fails; else passing seeds would mean nothing."""
    within = FOUND_WITHIN.get(variant.name, FOUND_SOON)
    for seed in range(within):
        if run_one((seed, variant.name)).failures:
            return
    pytest.fail(f"no seed below {within} fails with {variant.name}")


def test_a_seed_gives_the_same_run_in_two_processes() -> None:
    """The order of sets and dicts, addresses and real time decide nothing."""
    command = [sys.executable, "-m", "tests.simulation", "0", "2", "--jobs", "1", "--trace"]
    root = Path(__file__).parents[2]
    traces = [
        subprocess.run(
            command,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[:2]
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0][0].split()[1] != traces[0][1].split()[1]


def test_a_failing_seed_says_how_to_see_it_again() -> None:
    """Seed, commit and command are in what the test prints."""
    variant = next(variant for variant in BROKEN if variant.name == "no fsync of the file")
    text = explain(run_one((0, variant.name)), variant)
    assert "seed 0 at commit " in text
    assert "python -m tests.simulation 0 1 --variant 'no fsync of the file'" in text
