"""What labels and annotations may be, and what is said of those that may not. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

NAME_MOST = 63  # characters of a name, and of a label's value
PREFIX_MOST = 253  # characters
ANNOTATION_MOST = 5000  # characters of a value
RESERVED = "cloudfoundry.org"

_STRANGE = re.compile(r"[^A-Za-z0-9_.-]")
_ENDS = re.compile(r"[A-Za-z0-9](.*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.I)

Given = Mapping[str, str | None]  # None takes one out


def label_faults(labels: Given) -> list[str]:
    """What is wrong with *labels*, in Cloud Controller's words: selectors must name each."""
    return [
        f"Metadata label {fault}"
        for key, value in labels.items()
        for fault in (*_key_faults(key), *_value_faults(value or ""))
    ]


def annotation_faults(annotations: Given) -> list[str]:
    """The same of *annotations*, whose values are any text; what is empty may have any key."""
    faults = []
    for key, value in annotations.items():
        if value:
            faults += [f"Metadata annotation {fault}" for fault in _key_faults(key)]
        if value is not None and len(value) > ANNOTATION_MOST:
            faults.append(f"Metadata annotation value error: {_long(value, ANNOTATION_MOST)}")
    return faults


def _key_faults(key: str) -> Iterator[str]:
    """The first thing that is wrong with *key*."""
    prefix, slash, name = key.rpartition("/")
    if key.count("/") > 1:
        yield "key error: key has more than one '/'"
    elif slash and not _PREFIX.fullmatch(prefix):
        yield f"key error: prefix '{prefix}' must be in valid dns format"
    elif len(prefix) > PREFIX_MOST:
        yield f"key error: prefix {_long(prefix, PREFIX_MOST)}"
    elif prefix.lower() == RESERVED:
        yield f"key error: prefix '{RESERVED}' is reserved"
    elif not name:
        yield "key error: key cannot be empty string"
    elif fault := _fault(name):
        yield f"key error: {fault}"


def _value_faults(value: str) -> Iterator[str]:
    if value and (fault := _fault(value)):
        yield f"value error: {fault}"


def _fault(text: str) -> str:
    if _STRANGE.search(text):
        return f"'{text}' contains invalid characters"
    if not _ENDS.fullmatch(text):
        return f"'{text}' starts or ends with invalid characters"
    return _long(text, NAME_MOST) if len(text) > NAME_MOST else ""


def _long(text: str, most: int) -> str:
    return f"'{text[:8]}...' is greater than {most} characters"
