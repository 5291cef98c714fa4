"""What a Python app requires: requirements.txt with its includes, or pyproject.toml. Pure."""

from __future__ import annotations

import posixpath
import re

from appliance.stager.errors import BuildFailed
from appliance.stager.tree import Tree

_INCLUDE = re.compile(r"^(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)\s*$")
_CONTINUED = re.compile(r"\\\n")
DEEPEST = 10  # files that may include each other


def gather_requirements(tree: Tree) -> str:
    """The text of requirements.txt with ``-r`` files put in place, else of pyproject.toml's list.

    Raises:
      BuildFailed: an included file is missing or outside, or pyproject.toml cannot be read.
    """
    if tree.has("requirements.txt"):
        return "\n".join(_lines(tree, "requirements.txt", depth=0)) + "\n"
    if tree.has("pyproject.toml"):
        return "".join(f"{line}\n" for line in _project(tree.read("pyproject.toml")))
    return ""


def has_requirements(text: str) -> bool:
    """Whether *text* asks for anything at all."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _lines(tree: Tree, name: str, depth: int) -> list[str]:
    if depth > DEEPEST:
        raise BuildFailed(f"{name} is included more than {DEEPEST} files deep.")
    lines: list[str] = []
    for line in _CONTINUED.sub(" ", tree.read(name)).splitlines():
        included = _INCLUDE.match(line.strip())
        if included is None:
            lines.append(line)
            continue
        # A constraint says no more than a requirement of something that is installed anyway
        # would; for that rare file the difference is told, not guessed.
        if line.strip().startswith(("-c", "--c")):
            raise BuildFailed(
                f"{name} has a constraints file, which this stager does not read.",
                hint="Write the versions into requirements.txt: `uv pip compile` does it.",
            )
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), included[1]))
        if not tree.has(path):
            raise BuildFailed(f"{name} includes {included[1]}, which is not in the app.")
        lines += _lines(tree, path, depth + 1)
    return lines


def _project(text: str) -> list[str]:
    import tomllib

    try:
        project = tomllib.loads(text).get("project", {})
        listed = project.get("dependencies", [])
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise BuildFailed(f"pyproject.toml cannot be read: {error}.") from None
    if not isinstance(listed, list) or not all(isinstance(line, str) for line in listed):
        raise BuildFailed("pyproject.toml: project.dependencies must be a list of strings.")
    return listed
