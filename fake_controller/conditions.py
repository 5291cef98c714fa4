"""Which records are meant: conditions on fields, on records that they lead to, on labels. Pure.

A *path* names a field of a record, or of one that it leads to: ``space_guid`` of an app,
``app.space_guid`` of a process (its ``app_guid`` leads to the app). One step may lead back:
``destinations[route_guid].app_guid`` of a route is the app of a destination whose
``route_guid`` is that route. However long the path, it is one query.

Names of fields and tables come from the code, never from a client; values are bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fake_controller.errors import bad_query

_BACK = re.compile(r"(\w+)\[(\w+)\]")
#: References whose table is not their name with an s.
_TABLES = {"process": "processes", "service_plan_visibility": "service_plan_visibilities"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A piece of SQL that is true of the records that are meant, and the values in it."""

    sql: str
    values: tuple[Any, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        if self == ALL or other == NONE:
            return other
        if other == ALL or self == NONE:
            return self
        return Condition(f"({self.sql} AND {other.sql})", self.values + other.values)

    def __or__(self, other: Condition) -> Condition:
        if self == NONE or other == ALL:
            return other
        if other == NONE or self == ALL:
            return self
        return Condition(f"({self.sql} OR {other.sql})", self.values + other.values)

    def seen_from(self, step: str) -> Condition:
        """This condition on the record that *step* leads to, as one on where it leads from."""
        return _step(step, self)

    def __invert__(self) -> Condition:
        return Condition(f"NOT {self.sql}", self.values)


ALL = Condition("1")
NONE = Condition("0")


def table_of(reference: str) -> str:
    """Where ``reference_guid`` leads to."""
    return _TABLES.get(reference, f"{reference}s")


def reference_of(table: str) -> str:
    """What one record of *table* is called: the reverse of `table_of`."""
    irregular = {name: reference for reference, name in _TABLES.items()}
    return irregular.get(table, table.removesuffix("s"))


def column(field: str) -> str:
    """The expression that reads *field* of a stored record; the one that indexes are made of."""
    return "guid" if field == "guid" else f"(doc ->> '$.{field}')"


def is_(path: str, value: Any) -> Condition:
    """The field is *value*; None is null."""
    if value is None:
        return _at(path, lambda field: Condition(f"{column(field)} IS NULL"))
    return _at(path, lambda field: Condition(f"{column(field)} = ?", (_plain(value),)))


def among(path: str, values: Iterable[Any]) -> Condition:
    """The field is one of *values*. The empty text also stands for null, as in a query."""
    wanted = [_plain(value) for value in values]
    if not wanted:
        return NONE
    found = _at(
        path,
        lambda field: Condition(
            # One bound value, however many there are: SQLite limits their number.
            f"{column(field)} IN (SELECT value FROM json_each(?))",
            (json.dumps(wanted),),
        ),
    )
    if "" in wanted:
        found |= _at(path, lambda field: Condition(f"{column(field)} IS NULL"))
    return found


def same_text(path: str, value: str) -> Condition:
    """The field is *value*, whatever the case of its ASCII letters."""
    return _at(path, lambda field: Condition(f"lower({column(field)}) = lower(?)", (value,)))


def exists(path: str) -> Condition:
    """*path* leads to something: ``destinations[route_guid]`` of a route that is mapped."""
    return _at(f"{path}.guid", lambda _: ALL)


def contains(path: str, values: Iterable[str]) -> Condition:
    """The text in the field has one of *values* in it, whatever the case of its letters."""
    wanted = json.dumps(list(values))
    return _at(
        path,
        lambda field: Condition(
            "EXISTS (SELECT 1 FROM json_each(?)"
            f" WHERE instr(lower({column(field)}), lower(value)) > 0)",
            (wanted,),
        ),
    )


def holds(path: str, value: str) -> Condition:
    """The list in the field has *value* in it."""
    return _at(
        path,
        lambda field: Condition(
            f"EXISTS (SELECT 1 FROM json_each(doc, '$.{field}') WHERE value = ?)", (value,)
        ),
    )


def starts_with(path: str, value: str) -> Condition:
    """The text in the field begins with *value*, whatever the case of its ASCII letters."""
    return _at(
        path,
        lambda field: Condition(
            f"lower(substr({column(field)}, 1, length(?))) = lower(?)", (value, value)
        ),
    )


def ends_with(path: str, value: str) -> Condition:
    """The text in the field ends in *value*, whatever the case of its ASCII letters."""
    return _at(
        path,
        lambda field: Condition(
            f"lower(substr({column(field)}, -length(?))) = lower(?)", (value, value)
        ),
    )


OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "not": "<>"}


def compares(path: str, operator: str, value: float) -> Condition:
    """The number in the field is greater, less, … than *value*, in whole units as shown."""
    sign = OPERATORS[operator]
    return _at(
        path, lambda field: Condition(f"CAST({column(field)} AS INTEGER) {sign} ?", (value,))
    )


def labelled(selector: str) -> Condition:
    """What a label selector selects: ``a=b,c!=d,e in (f,g),h notin (i),j,!k``.

    Raises:
      CloudError: 400, the selector is not one.
    """
    found = ALL
    for requirement in _requirements(selector):
        found &= _label(requirement)
    return found


_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_VALUE = r"[A-Za-z0-9._-]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


def _requirements(selector: str) -> list[str]:
    """The parts between commas that stand in no parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", selector)]


def _label(requirement: str) -> Condition:
    if match := _SET.fullmatch(requirement):
        key, operator, listed = match.groups()
        values = [value.strip() for value in listed.split(",")]
        inside = Condition(
            f"{_LABEL} IN (SELECT value FROM json_each(?))", (_label_path(key), json.dumps(values))
        )
        return inside if operator == "in" else _lacks(key) | ~inside
    if match := _EQUAL.fullmatch(requirement):
        key, operator, value = match.groups()
        equal = Condition(f"{_LABEL} = ?", (_label_path(key), value))
        return _lacks(key) | ~equal if operator == "!=" else equal
    if match := _EXISTS.fullmatch(requirement):
        return _lacks(match[2]) if match[1] else ~_lacks(match[2])
    raise bad_query("Invalid label_selector value")


_LABEL = "json_extract(doc, ?)"


def _label_path(key: str) -> str:
    return f'$.labels."{key}"'


def _lacks(key: str) -> Condition:
    return Condition(f"({_LABEL} IS NULL)", (_label_path(key),))


def _at(path: str, condition: Any) -> Condition:
    """*condition* of the field at the end of *path*, seen from its beginning."""
    *steps, field = path.split(".")
    return _through(steps, condition(field))


def through(path: str, condition: Condition) -> Condition:
    """*condition* is true of a record that *path* leads to."""
    return _through(path.split("."), condition)


def _through(steps: list[str], found: Condition) -> Condition:
    for step in reversed(steps):
        found = _step(step, found)
    return found


def _step(step: str, found: Condition) -> Condition:
    if back := _BACK.fullmatch(step):
        table, reference = back.groups()
        inner = f"SELECT {column(reference)} FROM {table} WHERE {found.sql}"
        return Condition(f"guid IN ({inner})", found.values)
    inner = f"SELECT guid FROM {table_of(step)} WHERE {found.sql}"
    return Condition(f"{column(f'{step}_guid')} IN ({inner})", found.values)


def _plain(value: Any) -> Any:
    # SQLite reads JSON's true and false as 1 and 0.
    return int(value) if isinstance(value, bool) else value
