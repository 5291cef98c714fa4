"""Lists: how each resource is filtered, sorted, paged and shown, written once for all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import unquote, urlencode

from fake_controller.acting import Acting
from fake_controller.conditions import ALL, OPERATORS, Condition, among, compares, labelled
from fake_controller.errors import bad_query
from fake_controller.model import Record
from fake_controller.store import Tx

R = TypeVar("R", bound=Record)
Json = dict[str, Any]
Filter = Callable[[list[str]], Condition]
Query = Sequence[tuple[str, str]]  # a query string, in its order

PER_PAGE = 50
PER_PAGE_MOST = 5000
PAGE_MOST = 2**31
TIMES = {"created_ats": "created_at", "updated_ats": "updated_at"}
ALWAYS = ("page", "per_page", "order_by", "label_selector", *TIMES)
_OPERATOR = re.compile(r"(\w+)\[(\w+)\]")
_FIELDS = re.compile(r"fields\[([\w.]+)\]")


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[R]):
    """How one resource is listed and shown.

    *filters* are paths as in `conditions`, or functions from what a client wants to a
    condition, by query key. *gather* fetches what presenting a
    page needs besides its records, in a number of queries that does not grow with the page;
    *gather_for* stands for it where that depends on who asks.
    *includes* and *fields* name what may come with a page: a path, and how it is shown.
    """

    kind: type[R]
    present: Callable[[R, str, Any], Json]
    filters: Mapping[str, str | Filter] = field(default_factory=dict)
    gather: Callable[[Tx, Sequence[R]], Any] = lambda _tx, _records: None
    gather_for: Callable[[Acting, Sequence[R]], Any] | None = None
    includes: Mapping[str, Listing[Any]] = field(default_factory=dict)
    fields: Mapping[str, Listing[Any]] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)  # of includes that have other names
    ignored: tuple[str, ...] = ()  # query keys that clients send and that change nothing here
    order: str = "created_at"
    orders: tuple[str, ...] = ()  # besides the times

    def shown(self, acting: Acting, records: Sequence[R], base: str) -> list[Json]:
        """The *records* of a page as clients get them."""
        if self.gather_for is not None:
            gathered = self.gather_for(acting, records)
        else:
            gathered = self.gather(acting.tx, records)
        return [self.present(record, base, gathered) for record in records]

    @property
    def query_keys(self) -> list[str]:
        """Every query key that this list knows."""
        include = ("include",) if self.includes else ()
        some = tuple(f"fields[{path}]" for path in self.fields)
        return sorted({*ALWAYS, *self.filters, *self.ignored, *include, *some})

    @property
    def order_values(self) -> list[str]:
        """Everything that this list can be ordered by."""
        names = ("created_at", "updated_at", *self.orders)
        return [*names, *(f"-{name}" for name in names)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A query string, understood."""

    condition: Condition
    page: int = 1
    per_page: int = PER_PAGE
    order: str = "created_at"
    includes: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # path: names


def understand(listing: Listing[Any], query: Query) -> Asked:
    """What *query* asks of *listing*.

    Raises:
      CloudError: 400 for a key that is unknown, or a value that is out of range.
    """
    condition, fields = ALL, {}
    single: dict[str, str] = {}
    for key, value in query:
        operator = _OPERATOR.fullmatch(key)
        some = _FIELDS.fullmatch(key)
        if key in listing.filters:
            condition &= _filter(listing.filters[key], values(value))
        elif key in TIMES:
            condition &= _between(TIMES[key], value)
        elif operator and operator[1] in TIMES and operator[2] in OPERATORS:
            condition &= compares(TIMES[operator[1]], operator[2], seconds(value))
        elif key == "label_selector":
            condition &= labelled(value)
        elif some and some[1] in listing.fields:
            fields[some[1]] = tuple(values(value))
        elif key in ("page", "per_page", "order_by") or (key == "include" and listing.includes):
            single[key] = value
        elif key not in listing.ignored:
            valid = "', '".join(listing.query_keys)
            raise bad_query(f"Unknown query parameter(s): '{key}'. Valid parameters are: '{valid}'")
    return Asked(
        condition=condition,
        page=_number("page", single.get("page"), 1, PAGE_MOST),
        per_page=_number("per_page", single.get("per_page"), PER_PAGE, PER_PAGE_MOST),
        order=_order(listing, single.get("order_by")),
        includes=_includes(listing, single.get("include")),
        fields=fields,
    )


def _filter(how: str | Filter, wanted: list[str]) -> Condition:
    return among(how, stored(wanted)) if isinstance(how, str) else how(wanted)


def answer(
    acting: Acting, listing: Listing[R], asked: Asked, condition: Condition, url: str, query: Query
) -> Json:
    """One page of what matches *asked* and *condition*; *url* is the list's own, absolute."""
    tx, wanted = acting.tx, asked.condition & condition
    total = tx.count(listing.kind, wanted)
    records = tx.find(
        listing.kind,
        wanted,
        order_by=asked.order,
        limit=asked.per_page,
        offset=(asked.page - 1) * asked.per_page,
    )
    base = url.partition("/v3/")[0]
    shown = page(listing.shown(acting, records, base), total, asked, url, query)
    if asked.includes or asked.fields:
        shown["included"] = included(acting, listing, records, asked, base)
    return shown


def included(
    acting: Acting, listing: Listing[R], records: Sequence[R], asked: Asked, base: str
) -> dict[str, list[Json]]:
    """What *asked* wants beside *records*, by the name of its table; each thing once."""
    found: dict[str, list[Json]] = {}
    for name in _with_parents(asked.includes, listing.includes):
        other, path = listing.includes[name], listing.paths.get(name, name)
        found[other.kind.table] = other.shown(acting, acting.tx.follow(records, path), base)
    for path, names in asked.fields.items():
        other = listing.fields[path]
        shown = other.shown(acting, acting.tx.follow(records, path), base)
        found[other.kind.table] = [_picked(one, names) for one in shown]
    return found


def _with_parents(asked: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """*asked*, and ``space`` before ``space.organization``."""
    wanted: dict[str, None] = {}
    for name in asked:
        parent = name.rpartition(".")[0]
        wanted |= dict.fromkeys([parent, name] if parent in known else [name])
    return list(wanted)


def _picked(shown: Json, names: Sequence[str]) -> Json:
    """Those parts of *shown* that *names* name: ``guid``, ``relationships.organization``."""
    picked: Json = {}
    for name in names:
        at, part = picked, shown
        *outer, last = name.split(".")
        for step in outer:
            part = part.get(step) or {}
            at = at.setdefault(step, {})
        if last in part:
            at[last] = part[last]
    return picked


def page(resources: list[Json], total: int, asked: Asked, url: str, query: Query) -> Json:
    """The envelope of every list; ``next`` repeats all filters, as clients keep none."""
    last = max(1, -(-total // asked.per_page))
    kept = [(key, value) for key, value in query if key not in ("page", "per_page")]

    def href(number: int) -> Json:
        numbered = [*kept, ("page", str(number)), ("per_page", str(asked.per_page))]
        return {"href": f"{url}?{urlencode(numbered)}"}

    return {
        "pagination": {
            "total_results": total,
            "total_pages": last,
            "first": href(1),
            "last": href(last),
            "next": href(asked.page + 1) if asked.page < last else None,
            "previous": href(asked.page - 1) if asked.page > 1 else None,
        },
        "resources": resources,
    }


def values(text: str) -> list[str]:
    """The parts of a filter. A comma in a name comes encoded twice; no text is "is empty"."""
    return [unquote(part) for part in text.split(",")]


def stored(texts: Sequence[str]) -> list[str | int]:
    """*texts* as they may be stored: a number or a truth is no text there."""
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 16]
    truths = [int(text == "true") for text in texts if text in ("true", "false")]
    return [*texts, *numbers, *truths]


def seconds(text: str) -> int:
    """Seconds since 1970 of ``2026-01-31T12:00:00Z``, the one form that is taken."""
    try:
        at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise bad_query(f"'{text}' is no timestamp of the form YYYY-MM-DDThh:mm:ssZ") from None
    return int(at.timestamp())


def _between(name: str, text: str) -> Condition:
    wanted = Condition("0")
    for part in values(text):
        at = seconds(part)
        wanted |= compares(name, "gte", at) & compares(name, "lte", at)
    return wanted


def _number(key: str, text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= most:
        rule = "must be between 1 and 5000" if key == "per_page" else "must be greater than 0"
        raise bad_query(f"{key.replace('_', ' ').capitalize()} {rule}")
    return int(text)


def _order(listing: Listing[Any], wanted: str | None) -> str:
    if not wanted:
        return listing.order
    allowed = ("created_at", "updated_at", *listing.orders)
    if wanted.removeprefix("-") not in allowed:
        named = "', '".join(allowed)
        raise bad_query(f"Order by can only be: '{named}'")
    return wanted


def _includes(listing: Listing[Any], wanted: str | None) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(wanted.split(","))) if wanted else ()
    for one in asked:
        if one not in listing.includes:
            valid = "', '".join(listing.includes)
            raise bad_query(
                f"Invalid included resource: '{one}'. Valid included resources are: '{valid}'"
            )
    return asked
