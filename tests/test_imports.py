"""Imports point one way, and each foreign package has one home: the house's plan, kept."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "archiver",
    "dea",
    "health_manager",
    "logs",
    "package_cache",
    "registry",
    "router",
    "ssh",
    "stager",
}
KNOW_ALL = ("appliance.boot", "appliance.cli", "appliance.commands", "appliance.__main__",
            "appliance.__init__")  # fmt: skip
#: Where a package may be imported, as prefixes of module names.
HOMES = {
    "nats": ("appliance.kernel.bus.nats",),
    "hypercorn": ("appliance.kernel.http.",),
    "h11": ("appliance.kernel.http.",),
    "quart": ("appliance.kernel.http.", "fake_controller.http."),
    "quart_trio": ("appliance.kernel.http.", "fake_controller.http."),
    "httpx2": ("appliance.kernel.http.client", "appliance.commands."),
    "apsw": ("appliance.kernel.store.", "fake_controller.store", "appliance.archiver.store",
             "appliance.archiver.outbox"),
    # Libraries that need it live on a loop of their own, in one thread each.
    "asyncio": ("appliance.kernel.bus.nats", "appliance.ssh."),
    "asyncssh": ("appliance.ssh.",),
    "cryptography": ("appliance.ssh.make_host_key",),
    "subprocess": ("appliance.kernel.process.",),
    "random": ("appliance.kernel.clock",),
    "uuid": ("appliance.kernel.clock",),
    "time": ("appliance.kernel.clock",),
}  # fmt: skip
#: What a file that calls itself pure may not touch.
IMPURE = {"trio", "socket", "subprocess", "threading", "time", "random", "tempfile", "shutil",
          "apsw", "httpx2", "quart", "hypercorn", "selectors", "signal"}  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product and where it is."""
    for package in ("appliance", "fake_controller"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__") if name.count(".") > 1 else name, path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each import in *path*, those for type checkers left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}:{node.lineno}: write imports in full"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


ALL = list(modules())
NAMES = {name for name, _ in ALL}


def target(imported: str) -> str:
    """The module that an import of *imported* loads."""
    return imported if imported in NAMES else imported.rpartition(".")[0]


@pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])
def test_imports_point_one_way(name: str, path: Path) -> None:
    """Kernel below rooms below boot; a room knows another only by its messages."""
    own = name.split(".")[1] if name.startswith("appliance.") else name.split(".")[0]
    for line, imported in imports(path):
        here = f"{path.relative_to(ROOT)}:{line}: {imported}"
        top, *rest = imported.split(".")
        if top not in ("appliance", "fake_controller"):
            continue
        room = rest[0] if top == "appliance" and rest else top
        assert top not in ("sample_apps", "tests"), here
        if name.startswith(KNOW_ALL):
            continue
        assert room not in ("boot", "cli", "commands"), f"{here}: only the commands know boot"
        if own == "kernel":
            assert room == "kernel", f"{here}: the kernel knows no room"
        elif (room in ROOMS or room == "fake_controller") and room != own:
            assert ".messages" in imported, f"{here}: of another room only its messages"


@pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])
def test_packages_have_one_home(name: str, path: Path) -> None:
    """A foreign package is imported where it lives, and nowhere else."""
    for line, imported in imports(path):
        homes = HOMES.get(imported.split(".")[0])
        if homes is not None:
            here = f"{path.relative_to(ROOT)}:{line}: {imported} lives in {' or '.join(homes)}"
            assert f"{name}.".startswith(homes) or name.startswith(homes), here


def pure() -> list[tuple[str, Path]]:
    """Modules whose docstring says "Pure."."""
    return [
        (name, path)
        for name, path in ALL
        if "Pure." in (ast.get_docstring(ast.parse(path.read_text())) or "")
    ]


@pytest.mark.parametrize(("name", "path"), pure(), ids=[name for name, _ in pure()])
def test_pure_files_decide_and_do_nothing(name: str, path: Path) -> None:
    """No trio, clock, disk or bus in a file that says it is pure."""
    for line, imported in imports(path):
        package = imported.split(".")[0]
        here = f"{path.relative_to(ROOT)}:{line}: {imported}"
        assert package not in IMPURE, f"{here} in a file that says it is pure"


def test_every_import_is_declared() -> None:
    """What the product imports is its own, the standard library, or in pyproject.toml."""
    declared = (ROOT / "pyproject.toml").read_text().partition("[project.optional")[0]
    spelled = {"yaml": "pyyaml", "nats": "nats-py", "quart_trio": "quart-trio"}
    # These come with a declared package and are that package's own interface.
    brought = {"h11": "hypercorn", "werkzeug": "quart", "anyio": "httpx2", "outcome": "trio",
               "nkeys": "nats-py", "hypercorn": "hypercorn"}  # fmt: skip
    for _, path in ALL:
        # A helper that runs alone, outside of any package, names its neighbours like that.
        alone = "``python -I -S``" in (ast.get_docstring(ast.parse(path.read_text())) or "")
        beside = {other.stem for other in path.parent.glob("*.py")} if alone else set()
        for line, imported in imports(path):
            package = imported.split(".")[0]
            if package in beside:
                continue
            if package in sys.stdlib_module_names or package in ("appliance", "fake_controller"):
                continue
            wanted = spelled.get(package, brought.get(package, package))
            assert f'"{wanted}' in declared, f"{path.relative_to(ROOT)}:{line}: {imported}"
