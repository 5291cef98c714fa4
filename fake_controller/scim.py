"""Filters of SCIM, as UAA's clients send them: ``userName eq "x" and origin eq "uaa"``. Pure."""

from __future__ import annotations

import re

from fake_controller.conditions import NONE, Condition, contains, is_, same_text, starts_with
from fake_controller.errors import UaaError

#: Attributes in lower case: the field of an account.
ATTRIBUTES = {
    "id": "guid",
    "username": "username",
    "user_name": "username",
    "origin": "origin",
    "active": "active",
    "email": "emails",
    "emails": "emails",
    "emails.value": "emails",
    "name.familyname": "family_name",
    "familyname": "family_name",
    "name.givenname": "given_name",
    "givenname": "given_name",
}
MOST_TERMS = 200  # of one filter; SQLite limits how deep an expression may be
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\()|(\))|([^\s()"]+))')


def accounts_where(text: str) -> Condition:
    """The accounts that the filter *text* means; ``and`` binds closer than ``or``.

    Raises:
      UaaError: 400, *text* is no filter.
    """
    tokens = _tokens(text)
    if len(tokens) > 4 * MOST_TERMS:
        raise _invalid(text)
    condition, rest = _either(tokens, text)
    if rest:
        raise _invalid(text)
    return condition


def group_matches(text: str, name: str) -> bool:
    """Whether the filter *text* means the group *name*: ``displayName eq "…"``, or by id.

    Raises:
      UaaError: 400, *text* is no such filter.
    """
    tokens = _tokens(text)
    if len(tokens) != 3 or tokens[0].lower() not in ("displayname", "id"):
        raise _invalid(text)
    operator, value = tokens[1].lower(), tokens[2].removeprefix('"').lower()
    if operator == "eq":
        return name.lower() == value
    if operator == "co":
        return value in name.lower()
    if operator == "sw":
        return name.lower().startswith(value)
    raise _invalid(text)


def _tokens(text: str) -> list[str]:
    """Words and parentheses; a quoted text keeps its first quote, to be told from a word."""
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise _invalid(text)
        quoted, *others = match.groups()
        word = next(filter(None, others), "")
        found.append(word if quoted is None else '"' + re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return found


def _either(tokens: list[str], text: str) -> tuple[Condition, list[str]]:
    found, rest = _both(tokens, text)
    while rest and rest[0].lower() == "or":
        other, rest = _both(rest[1:], text)
        found |= other
    return found, rest


def _both(tokens: list[str], text: str) -> tuple[Condition, list[str]]:
    found, rest = _term(tokens, text)
    while rest and rest[0].lower() == "and":
        other, rest = _term(rest[1:], text)
        found &= other
    return found, rest


def _term(tokens: list[str], text: str) -> tuple[Condition, list[str]]:
    if tokens[:1] == ["("]:
        found, rest = _either(tokens[1:], text)
        if rest[:1] != [")"]:
            raise _invalid(text)
        return found, rest[1:]
    if len(tokens) >= 2 and tokens[1].lower() == "pr":
        return ~is_(_field(tokens[0], text), None), tokens[2:]
    if len(tokens) < 3:
        raise _invalid(text)
    attribute, operator, value = tokens[:3]
    return _compared(_field(attribute, text), operator.lower(), value, text), tokens[3:]


def _compared(field: str, operator: str, value: str, text: str) -> Condition:
    wanted = value.removeprefix('"')
    if field == "active":
        if operator != "eq" or wanted.lower() not in ("true", "false"):
            raise _invalid(text)
        return is_("active", wanted.lower() == "true")
    if field == "emails":  # a list, kept as JSON
        if operator == "eq":
            return contains("emails", [f'"{wanted}"'])
        return contains("emails", [wanted]) if operator == "co" and wanted else NONE
    if operator == "eq":
        return same_text(field, wanted)
    if operator == "co":
        return contains(field, [wanted])
    if operator == "sw":
        return starts_with(field, wanted)
    raise _invalid(text)


def _field(attribute: str, text: str) -> str:
    field = ATTRIBUTES.get(attribute.lower())
    if field is None:
        raise _invalid(text)
    return field


def _invalid(text: str) -> UaaError:
    return UaaError(400, "scim", f"Invalid filter expression: [{text[:200]}]")
