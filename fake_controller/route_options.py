"""Options of a route: which there are, what they may say, and how a change is merged. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fake_controller.errors import unprocessable

WAYS = ("round-robin", "least-connection", "hash")
OF_HASH = ("hash_header", "hash_balance")
KNOWN = ("loadbalancing", *OF_HASH)
MOST = 1024  # bytes of JSON
MOST_HEADER = 128  # characters
MOST_BALANCE = 16  # characters


def changed_options(old: Mapping[str, str], wanted: Mapping[str, Any]) -> dict[str, str]:
    """What *old* becomes; a None takes an option away.

    Raises:
      CloudError: 422 in Cloud Controller's words, for an option that is unknown or that does
        not go with the others.
    """
    if (size := len(json.dumps(dict(wanted)))) > MOST:
        raise unprocessable(
            f"Options must be smaller than {MOST} bytes (actual size is {size} bytes)"
        )
    given = {name: value for name, value in wanted.items() if value not in (None, "")}
    if unknown := [name for name in given if name not in KNOWN]:
        raise unprocessable("Options Unknown field(s): '" + "', '".join(unknown) + "'")
    way = given.get("loadbalancing")
    if way is not None and way not in WAYS:
        allowed = ", ".join(WAYS)
        raise unprocessable(f"Options Loadbalancing must be one of '{allowed}' if present")
    if "hash_header" in given and len(str(given["hash_header"])) > MOST_HEADER:
        raise unprocessable(f"Options Hash header must be at most {MOST_HEADER} characters")
    if "hash_balance" in given:
        given["hash_balance"] = _balance(str(given["hash_balance"]))
    for name in OF_HASH:
        if name in given and way not in (None, "hash"):
            label = name.replace("_", " ").capitalize()
            raise unprocessable(f"Options {label} can only be set when loadbalancing is hash")
    merged = {**old, **{name: str(value) for name, value in given.items()}}
    merged = {name: value for name, value in merged.items() if wanted.get(name, value)}
    if merged.get("loadbalancing") != "hash":
        merged = {name: value for name, value in merged.items() if name not in OF_HASH}
    elif "hash_header" not in merged:
        raise unprocessable("Hash header must be present when loadbalancing is set to hash.")
    return merged


def _balance(text: str) -> str:
    if len(text) > MOST_BALANCE:
        raise unprocessable(f"Options Hash balance must be at most {MOST_BALANCE} characters")
    try:
        balance = float(text)
    except ValueError:
        raise unprocessable("Options Hash balance must be a numeric value") from None
    if balance != 0 and not 1.1 <= balance <= 10:
        raise unprocessable("Options Hash balance must be either 0 or between 1.1 and 10.0")
    return f"{balance:.1f}"
