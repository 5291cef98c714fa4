"""Figures as Prometheus reads them: the text exposition format, version 0.0.4. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "appliance"

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One figure. Counters only grow, and their names end in ``_total``."""

    name: str
    value: float
    labels: Labels = MappingProxyType({})
    counter: bool = False
    help: str = ""


def exposition(samples: Collection[Sample]) -> str:
    """*samples* as text; those of one name come together under one heading."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines = []
    for name, same in by_name.items():
        if told := next((one.help for one in same if one.help), ""):
            lines.append(f"# HELP {name} {_escaped(told)}")
        lines.append(f"# TYPE {name} {'counter' if same[0].counter else 'gauge'}")
        lines += [f"{name}{_labels(one.labels)} {_number(one.value)}" for one in same]
    return "\n".join(lines) + "\n"


def samples(
    prefix: str, figures: Mapping[str, object], counters: Collection[str], labels: Labels
) -> Iterator[Sample]:
    """Every number in *figures*, at any depth of mappings; texts and lists are passed over.

    Args:
      prefix: Of the names: ``appliance_router``.
      counters: The keys of those that only grow.
    """
    for key, value in figures.items():
        name = f"{prefix}_{snake(str(key))}"
        if isinstance(value, Mapping):
            yield from samples(name, value, counters, labels)
        elif isinstance(value, bool | int | float):
            counter = key in counters
            name = f"{name}_total" if counter else name
            yield Sample(name, float(value), labels, counter=counter)


def snake(name: str) -> str:
    """``CloudController`` as ``cloud_controller``; what no name may have becomes ``_``."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-zA-Z0-9_]", "_", parted).lower()


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value, quoted=True)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text


def _number(value: float) -> str:
    value = float(value)
    return str(int(value)) if value.is_integer() else repr(value)
