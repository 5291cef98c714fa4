"""Subjects and patterns: what is well formed, what matches what, and a trie that finds it fast.

A subject is tokens joined by dots. In a pattern the token ``*`` stands for any one
token, and a last token ``>`` for one or more. Pure: no bus, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Generic, TypeVar

from appliance.kernel.bus import BadSubject

MAX_SUBJECT = 1024  # characters; a NATS server closes on control lines above 4096 bytes

T = TypeVar("T")

# White space and control characters would end the subject in the middle of a NATS
# control line, where the rest is read as another field or another command. Half of a
# surrogate pair has no UTF-8 form.
_FORBIDDEN = re.compile(r"[\s\x00-\x20\x7f\ud800-\udfff]")


@lru_cache(maxsize=4096)
def check_subject(subject: str) -> None:
    """Refuse what nothing can be published to.

    Raises:
      BadSubject: empty tokens, wildcards, white space, or above `MAX_SUBJECT`.
    """
    _check_tokens(subject)
    if "*" in subject or ">" in subject:
        raise BadSubject(f"The subject {subject!r} has a wildcard; only a subscription may.")


@lru_cache(maxsize=4096)
def check_pattern(pattern: str) -> None:
    """Refuse what nothing can be subscribed to.

    A wildcard that is only part of a token (``a.b*``) is refused, although a NATS
    server takes it as an ordinary character: nobody means that.

    Raises:
      BadSubject: empty tokens, misplaced wildcards, white space, or above `MAX_SUBJECT`.
    """
    _check_tokens(pattern)
    if "*" not in pattern and ">" not in pattern:
        return
    tokens = pattern.split(".")
    for position, token in enumerate(tokens, 1):
        if token == ">" and position < len(tokens):
            raise BadSubject(f"The pattern {pattern!r} has a > that is not its last token.")
        if len(token) > 1 and ("*" in token or ">" in token):
            raise BadSubject(f"The pattern {pattern!r} has a wildcard inside of a token.")


@lru_cache(maxsize=1024)
def check_queue(queue: str) -> None:
    """Refuse a name of a queue group that would not survive the wire.

    Raises:
      BadSubject: empty, white space, or above `MAX_SUBJECT`.
    """
    if not queue or len(queue) > MAX_SUBJECT or _FORBIDDEN.search(queue):
        raise BadSubject(f"The queue group {queue[:80]!r} is empty, too long or has white space.")


def _check_tokens(subject: str) -> None:
    if len(subject) > MAX_SUBJECT:
        raise BadSubject(f"The subject {subject[:40]!r}… is longer than {MAX_SUBJECT} characters.")
    if not subject or subject[0] == "." or subject[-1] == "." or ".." in subject:
        raise BadSubject(f"The subject {subject!r} has an empty token.")
    if _FORBIDDEN.search(subject):
        raise BadSubject(f"The subject {subject!r} has white space or control characters.")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to *pattern* receives what is published to *subject*."""
    wanted, given = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if position == len(given):
            return False
        if token == ">":
            return True
        if token not in ("*", given[position]):
            return False
    return len(wanted) == len(given)


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[T, None] = {}  # in order; many may share one pattern


class SubjectTrie(Generic[T]):
    """Hashable values by pattern, found by subject in one walk over its tokens.

    The walk keeps all nodes that still match side by side instead of recursing, so
    its cost is bounded by the size of the trie, however many ``*`` there are.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, value: T) -> None:
        """Let *value* be found for whatever *pattern* matches; once, however often added."""
        node = self._root
        for token in pattern.split("."):
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = _Node()
            node = child
        node.values[value] = None

    def remove(self, pattern: str, value: T) -> None:
        """Forget *value* under *pattern*, and the nodes that only it needed.

        Raises:
          KeyError: it was not there.
        """
        path = [self._root]
        tokens = pattern.split(".")
        for token in tokens:
            path.append(path[-1].children[token])
        if value not in path[-1].values:
            raise KeyError(pattern)
        del path[-1].values[value]
        for parent, token, node in zip(path[-2::-1], tokens[::-1], path[:0:-1], strict=True):
            if node.values or node.children:
                break
            del parent.children[token]

    def match(self, subject: str) -> list[T]:
        """Every value whose pattern matches *subject*, in no particular order."""
        found: list[T] = []
        nodes = [self._root]
        for token in subject.split("."):
            following = []
            for node in nodes:
                children = node.children
                if rest := children.get(">"):
                    found += rest.values
                if child := children.get(token):
                    following.append(child)
                if child := children.get("*"):
                    following.append(child)
            if not following:
                return found
            nodes = following
        for node in nodes:
            found += node.values
        return found

    def items(self) -> Iterator[tuple[str, T]]:
        """Every pattern with each of its values."""
        waiting = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            for value in node.values:
                yield path, value
            waiting += [
                (f"{path}.{token}" if path else token, child)
                for token, child in node.children.items()
            ]

    def __bool__(self) -> bool:
        return bool(self._root.children)
