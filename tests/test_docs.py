"""The documents say what the code does: pages made from it are current, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def reference() -> ModuleType:
    """docs/reference.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    [f"docs/reference/{page}.md" for page in ("config", "cli", "wire")]
    + ["fake_controller/COVERAGE.md"],
)
def test_reference_pages_are_current(name: str) -> None:
    """Every command, setting and message is documented; `make docs` writes these pages."""
    made = reference().PAGES[name]()

    assert (ROOT / name).read_text() == made, "run `make docs`"


def test_every_setting_says_what_it_is() -> None:
    """A setting without a word is one that nobody can use."""
    silent = [
        f"{node.name}.{name}"
        for node, found in reference().fields(ROOT / "appliance" / "config.py")
        for name, kind, _, comment in found
        if not comment and not kind.endswith("Config")
    ]

    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    """No page points at a file that is not there."""
    targets = [one for one in LINK.findall(page.read_text()) if "://" not in one]
    lost = [one for one in targets if not (page.parent / one).exists()]

    assert lost == []


def test_make_targets_of_the_readme_exist() -> None:
    """What the README tells people to type is in the Makefile."""
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))
    have = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert named <= have


def test_commands_of_the_documents_exist() -> None:
    """Each ``appliance COMMAND`` in a code block is a command."""
    from appliance.cli import COMMANDS

    unknown = set()
    for page in PAGES:
        for block in re.findall(r"^(?: {4}|```.*?^)(.*?)$", page.read_text(), re.MULTILINE):
            for word in re.findall(r"(?:^|/|\s)appliance ([a-z]+)\b", block):
                if word not in COMMANDS:
                    unknown.add(f"{page.name}: {word}")

    assert unknown == set()
