"""Which requirements may be resolved: named packages of the configured index, no more. Pure."""

from __future__ import annotations

import re

from appliance.package_cache.errors import BadRequirement

_NAMED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*(.*)$")
_HASH = re.compile(r"\s--hash[=\s]\S+")


def checked_requirements(text: str) -> str:
    """*text* without comments, if each line only names a package, versions and markers.

    The resolver runs with the operator's rights. Options, URLs and paths would let an app
    choose the index, or read files of this machine.

    Raises:
      BadRequirement: a line is something else; it is named with its number.
    """
    kept: list[str] = []
    joined = re.sub(r"\\\r?\n", " ", text)
    for number, line in enumerate(joined.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not line:
            continue
        line = _HASH.sub("", line).strip()
        if line.startswith("-"):
            raise BadRequirement(number, line, "options are for the package cache's operator")
        match = _NAMED.match(line)
        rest = match[1].partition(";")[0] if match else ""
        if match is None or rest.startswith("@") or "/" in rest or "://" in line:
            raise BadRequirement(number, line, "only packages of the index can be installed")
        if rest and not rest.startswith(("=", "<", ">", "!", "~", "(")):
            raise BadRequirement(number, line, "it is not NAME followed by versions")
        kept.append(line)
    return "\n".join(kept) + "\n"


def names(text: str) -> list[str]:
    """The packages that checked requirements name, for sentences."""
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in text.splitlines() if line]
