"""Subjects and patterns: which are refused, and who hears what."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.bus import BadSubject
from appliance.kernel.bus.subjects import (
    MAX_SUBJECT,
    SubjectTrie,
    check_pattern,
    check_queue,
    check_subject,
    matches,
)

# Few different tokens, so that subjects and patterns meet often.
TOKENS = st.sampled_from(["a", "b", "cc"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(TOKENS | st.just("*"), max_size=4),
    st.sampled_from([["a"], ["*"], [">"]]),
)


def heard(pattern: str, subject: str) -> bool:
    """The plain model: a pattern is a regular expression."""
    tokens = {"*": r"[^.]+", ">": r".+"}
    expression = r"\.".join(tokens.get(token, re.escape(token)) for token in pattern.split("."))
    return re.fullmatch(expression, subject) is not None


@given(PATTERNS, SUBJECTS)
def test_matching_is_what_the_model_says(pattern: str, subject: str) -> None:
    """One pattern against one subject."""
    check_pattern(pattern)
    check_subject(subject)

    assert matches(pattern, subject) == heard(pattern, subject)


@given(st.lists(PATTERNS, max_size=12), st.lists(SUBJECTS, max_size=6), st.data())
def test_trie_finds_what_matches_and_forgets_what_is_removed(
    patterns: list[str], subjects: list[str], data: st.DataObject
) -> None:
    """The trie agrees with the model before and after some patterns are removed."""
    trie: SubjectTrie[int] = SubjectTrie()
    kept = dict(enumerate(patterns))
    for number, pattern in kept.items():
        trie.add(pattern, number)

    gone = data.draw(st.sets(st.sampled_from(sorted(kept)))) if kept else set()
    for number in gone:
        trie.remove(kept.pop(number), number)

    for subject in subjects:
        expected = sorted(number for number, pattern in kept.items() if heard(pattern, subject))
        assert sorted(trie.match(subject)) == expected


@given(st.lists(PATTERNS, max_size=12))
def test_trie_is_empty_after_everything_is_removed(patterns: list[str]) -> None:
    """No node is left behind, so subjects that come and go cost no memory."""
    trie: SubjectTrie[int] = SubjectTrie()
    for number, pattern in enumerate(patterns):
        trie.add(pattern, number)
    for number, pattern in enumerate(patterns):
        trie.remove(pattern, number)

    assert not trie


@pytest.mark.parametrize(("pattern", "value"), [("a.b", 1), ("a.c", 2), ("a", 1)])
def test_trie_refuses_to_remove_what_is_not_there(pattern: str, value: int) -> None:
    """Another value, another pattern, or only the beginning of a pattern."""
    trie: SubjectTrie[int] = SubjectTrie()
    trie.add("a.b", 2)

    with pytest.raises(KeyError):
        trie.remove(pattern, value)

    assert trie.match("a.b") == [2]


def test_many_wildcards_do_not_make_matching_slow() -> None:
    """The walk is bounded by the trie, not by two to the power of its depth."""
    trie: SubjectTrie[str] = SubjectTrie()
    deep = 400
    for pattern in (".".join(["*"] * deep), ".".join(["a"] * deep), ".".join(["*", "a"] * 200)):
        trie.add(pattern, pattern)

    assert len(trie.match(".".join(["a"] * deep))) == 3


@pytest.mark.parametrize("subject", ["a", "a.b", "vcap.component.announce", "a-b_c$.7", "ä.ö"])
def test_proper_subjects_are_taken(subject: str) -> None:
    """As subjects and as patterns."""
    check_subject(subject)
    check_pattern(subject)


@pytest.mark.parametrize("pattern", ["*", ">", "a.*", "*.*", "a.*.b", "a.>", "*.>"])
def test_wildcards_are_for_patterns_only(pattern: str) -> None:
    """A subscription may have them, a publication may not."""
    check_pattern(pattern)

    with pytest.raises(BadSubject, match="wildcard"):
        check_subject(pattern)


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param("", id="empty"),
        pytest.param(".", id="two empty tokens"),
        pytest.param(".a", id="empty first token"),
        pytest.param("a.", id="empty last token"),
        pytest.param("a..b", id="empty token in the middle"),
        pytest.param("a b", id="space"),
        pytest.param("a\tb", id="tab"),
        pytest.param("a\r\nPUB x 0", id="a command of its own"),
        pytest.param("a\n", id="line break at the end"),
        pytest.param("a\x00b", id="zero byte"),
        pytest.param("a\u00a0b", id="no-break space"),
        pytest.param("a\ud800", id="half of a surrogate pair"),
        pytest.param("a" * (MAX_SUBJECT + 1), id="too long"),
    ],
)
def test_malformed_subjects_are_refused(subject: str) -> None:
    """As subjects and as patterns."""
    with pytest.raises(BadSubject):
        check_subject(subject)
    with pytest.raises(BadSubject):
        check_pattern(subject)


@pytest.mark.parametrize("pattern", [">.a", "a.>.b", "a.b*", "*a", "a>", "a.**", ">>"])
def test_misplaced_wildcards_are_refused(pattern: str) -> None:
    """A > that is not last, or a wildcard that shares its token."""
    with pytest.raises(BadSubject):
        check_pattern(pattern)


@pytest.mark.parametrize("queue", ["", "a b", "a\r\nb", "q" * (MAX_SUBJECT + 1)])
def test_malformed_queue_groups_are_refused(queue: str) -> None:
    """They share the control line with the subject."""
    with pytest.raises(BadSubject):
        check_queue(queue)
