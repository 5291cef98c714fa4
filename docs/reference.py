"""Writes docs/reference from the code, so that the two cannot disagree: ``make docs``.

Comments beside settings and message fields are their documentation; docstrings of commands
and messages are theirs.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from appliance import config as appliance_config

ROOT = Path(__file__).parent.parent
MADE = "<!-- Made by `make docs` from {source}; change it there. -->\n"


def fields(path: Path) -> Iterator[tuple[ast.ClassDef, list[tuple[str, str, str, str]]]]:
    """Classes of *path* with (name, type, default, comment) of each field."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        found = []
        for item in node.body:
            if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
                continue
            kind = ast.unparse(item.annotation)
            if kind.startswith("ClassVar"):
                continue
            default = ast.unparse(item.value) if item.value else ""
            comment = lines[item.lineno - 1].partition("  # ")[2].removeprefix("noqa: ")
            if comment.startswith("S105 -- "):
                comment = comment.removeprefix("S105 -- ")
            found.append((item.target.id, kind, default, comment))
        yield node, found


def cell(text: str) -> str:
    """*text* inside a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def config() -> str:
    """Every setting."""
    source = ROOT / "appliance" / "config.py"
    classes = {node.name: (node, found) for node, found in fields(source)}
    top, top_fields = classes["Config"]
    out = [
        "# Settings\n",
        MADE.format(source="appliance/config.py"),
        "A flag wins over the environment, the environment over `appliance.toml` in the current",
        "folder (or `--config FILE`), and that over the default. `appliance config show --origin`",
        "prints each value and where it came from. Unknown keys and bad values are errors.\n",
        "The same setting has three spellings: `archiver.batch` is `batch` in the table",
        "`[archiver]` of the file, and `APPLIANCE_ARCHIVER_BATCH` in the environment.\n",
        "## The appliance\n",
        *_table([row for row in top_fields if not row[2].startswith("field(")], ""),
    ]
    for name, kind, default, _ in top_fields:
        if default.startswith("field("):
            node, found = classes[kind]
            out += [
                f"\n## `[{name}]`\n",
                f"{ast.get_docstring(node)}\n",
                *_table(found, f"{name}."),
            ]
    assert top.name == "Config"
    return "\n".join(out) + "\n"


def _table(rows: list[tuple[str, str, str, str]], prefix: str) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, kind, default, comment in rows:
        if made := re.fullmatch(r"field\(default_factory=(\w+)\)", default):
            default = repr(getattr(appliance_config, made[1])())
        yield f"| `{prefix}{name}` | {cell(kind)} | `{cell(default)}` | {cell(comment)} |"


def cli() -> str:
    """Every command."""
    import click

    from appliance.cli import COMMANDS
    from appliance.cli import cli as group

    out = [
        "# Commands\n",
        MADE.format(source="appliance/commands"),
        "`appliance COMMAND --help` says the same. Options before the command choose the appliance",
        "to talk to.\n",
        *_help(
            "appliance",
            group,
            click.Context(
                group, info_name="appliance", terminal_width=80, help_option_names=["-h", "--help"]
            ),
        ),
    ]
    for name in COMMANDS:
        module = importlib.import_module(f"appliance.commands.{COMMANDS[name][0]}")
        command = getattr(module, name)
        out += _help(
            f"appliance {name}",
            command,
            click.Context(
                command, info_name=name, terminal_width=80, help_option_names=["-h", "--help"]
            ),
        )
        if isinstance(command, click.Group):
            for below, inner in command.commands.items():
                context = click.Context(
                    inner, info_name=below, terminal_width=80, help_option_names=["-h", "--help"]
                )
                out += _help(f"appliance {name} {below}", inner, context)
    out += ["## Exit codes\n", (ROOT / "docs" / "exit-codes.md").read_text()]
    return "\n".join(out)


def _help(name: str, command: object, context: object) -> list[str]:
    text = command.get_help(context)  # type: ignore[attr-defined]
    usage, _, rest = text.partition("\n")
    usage = usage.replace("Usage: ", "").split(" ", 1)
    first = f"{name} {usage[1] if len(usage) > 1 else ''}".rstrip()
    return [f"## `{name}`\n", "```", first, rest.rstrip(), "```\n"]


def wire() -> str:
    """Every message on the bus."""
    sources = sorted((ROOT / "appliance").glob("*/messages*.py"))
    sources = [
        ROOT / "appliance/kernel/component.py",
        *sources,
        ROOT / "fake_controller/messages.py",
    ]
    out = [
        "# Messages on the bus\n",
        MADE.format(source="each room's messages.py"),
        "JSON on NATS subjects, as in the first Cloud Foundry. A field whose comment says *ours*",
        "is an addition; peers of 2012 ignore it. Every message carries two headers where the bus",
        "has any: `X-Appliance-Room` says who sent it, `X-Vcap-Request-Id` for which push.\n",
    ]
    for source in sources:
        text = source.read_text()
        out += [
            f"## {_part(source)}\n",
            f"{ast.get_docstring(ast.parse(text))}\n",
        ]
        for node, found in fields(source):
            if not found and not _subject(node):
                continue
            subject = _subject(node)
            title = f"`{subject}` — {node.name}" if subject else node.name
            out += [f"### {title}\n", f"{ast.get_docstring(node) or ''}\n"]
            if found:
                out += [*_message_table(found), ""]
    return "\n".join(out) + "\n"


def _part(source: Path) -> str:
    """The room, and what of it when its messages are in several files."""
    room = source.parent.name.replace("_", " ")
    of = source.stem.removeprefix("messages").lstrip("_")
    return f"{room}: {of}" if source.stem.startswith("messages_") else room


def _message_table(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    yield "| field | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, kind, default, comment in rows:
        default = "" if not default else f"`{cell(default)}`"
        default = default.replace("field(default_factory=list)", "[]").replace(
            "field(default_factory=dict)", "{}"
        )
        yield f"| `{name}` | {cell(kind)} | {default} | {cell(comment)} |"


def _subject(node: ast.ClassDef) -> str:
    for item in node.body:
        named = isinstance(item, ast.AnnAssign) and getattr(item.target, "id", "") == "subject"
        if named and isinstance(item.value, ast.Constant):  # type: ignore[union-attr]
            return str(item.value.value)  # type: ignore[union-attr]
    return ""


def coverage() -> str:
    """Every endpoint of the published API, and every other route of the controller."""
    from fake_controller.http.coverage import compare, published
    from fake_controller.http.partial import PARTIAL
    from fake_controller.http.table import RESOURCES, served

    endpoints = published((ROOT / "tests" / "contract" / "v3_paths.txt").read_text())
    where = {
        (method, path): resource.__name__.rpartition(".")[2]
        for resource in RESOURCES
        for method, path in served(resource)
    }
    compared = compare(endpoints, where, PARTIAL)
    beside = [(m, p) for m, p in where if not p.startswith("/v3") and (m, p) not in endpoints]
    return "\n".join(
        [
            "# What the controller serves\n",
            MADE.format(source="fake_controller/http"),
            "Every endpoint of Cloud Foundry's V3 API, as listed in `tests/contract/v3_paths.txt`:",
            "*done* when it has a route, *partial* when `fake_controller/http/partial.py` says",
            "what it lacks, *absent* otherwise. What is absent answers 404 `Unknown request`, as",
            "Cloud Controller does for paths it does not know.\n",
            "| method | path | status | lacks |",
            "| --- | --- | --- | --- |",
            *(
                f"| {one.method} | `{one.path}` | {one.status} | {one.note} |"
                for one in compared.endpoints
            ),
            "\n## Additions under `/v3`\n",
            *(_routes_table(compared.additions, where) if compared.additions else ["None."]),
            "\n## Beside `/v3`\n",
            "UAA, log-cache, what clients look for first, and the endpoints of the first Cloud",
            "Foundry that stagers and the health manager use.\n",
            *_routes_table(beside, where),
            "",
        ]
    )


def _routes_table(
    routes: list[tuple[str, str]], where: dict[tuple[str, str], str]
) -> Iterator[str]:
    yield "| method | path | in |"
    yield "| --- | --- | --- |"
    for method, path in routes:
        yield f"| {method} | `{path}` | {where[method, path]} |"


PAGES = {
    "docs/reference/config.md": config,
    "docs/reference/cli.md": cli,
    "docs/reference/wire.md": wire,
    "fake_controller/COVERAGE.md": coverage,
}


def main() -> None:
    """Write the pages."""
    for name, make in PAGES.items():
        (ROOT / name).write_text(make())


if __name__ == "__main__":
    main()
