"""``up --only``: what cannot work is said before anything is started."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--only stagers", "must be some of controller, stager"),
        ("--only registry", "must name the controller"),
        ("--only archiver", "archiver.password"),
        ("--only controller", "controller.archivers"),
        ("--only stager --bus nats://a:b", "must be nats://HOST:PORT"),
        ("--only registry --controller nowhere", "must look like http://HOST:PORT"),
        ("-c missing.yml", "there is no such file"),
    ],
)
def test_what_cannot_work_is_a_sentence(run: Run, words: str, says: str) -> None:
    """With the status of bad settings."""
    done = run("up", *words.split())

    assert done.code == 78
    assert says in done.err
