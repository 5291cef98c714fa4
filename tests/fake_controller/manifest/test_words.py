"""Random hosts: words that are host names, and many of them."""

from __future__ import annotations

import re

from fake_controller.manifest.words import ADJECTIVES, NOUNS, random_words


def test_every_number_is_a_host() -> None:
    """Small and large, in lower case, with two letters at the end."""
    for number in (0, 1, 59, 60, 3600, 2**64 - 1):
        assert re.fullmatch(r"[a-z]{3,10}-[a-z]{3,10}-[a-z]{2}", random_words(number))


def test_neighbours_differ() -> None:
    """No two of the first numbers share a host; no word is there twice."""
    assert len({random_words(number) for number in range(5000)}) == 5000
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)
    assert len(set(NOUNS)) == len(NOUNS)
