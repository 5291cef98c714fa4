"""Which plugin takes which app: tables of file names, no disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.stager.detect import candidates
from appliance.stager.errors import NoPluginMatched, UnknownPlugin
from appliance.stager.group import form_group
from appliance.stager.messages import BUILT_IN_BUILDPACKS, BuildpackToTry, Properties
from appliance.stager.plugins.registry import FRAMEWORKS, PLUGINS, built_in
from appliance.stager.tree import tree_of


async def find(
    files: dict[str, str],
    *,
    framework: str = "",
    buildpacks: Sequence[str] = (),
    listed: Sequence[BuildpackToTry] = (),
    command: str = "",
) -> list[str]:
    """The plugins that take the app; nothing is run, so no sandbox is needed."""
    properties = Properties(
        framework_info={"name": framework} if framework else None,
        buildpacks=list(buildpacks),
        buildpack_list=list(listed),
    )
    build: Any = SimpleNamespace(
        tree=tree_of(files), has_command=bool(command), note=lambda _: None
    )
    async with AsyncExitStack() as borrowed:
        shelf: Any = None
        group = await form_group(candidates(properties, FRAMEWORKS), build, shelf, borrowed)
    return [one.detected for one in group.participants]


BINARY = BuildpackToTry(name="binary_buildpack")


def named(names: str) -> dict[str, str]:
    """Empty files of these names."""
    return dict.fromkeys(names.split(), "")


@pytest.mark.parametrize(
    ("names", "plugin"),
    [
        ("Procfile start.sh", "procfile"),
        ("Procfile server bin/x", "procfile"),
        ("index.php style.css index.html", "php"),
        ("composer.json src/x.php", "php"),
        ("config.ru", "ruby"),
        ("Gemfile app.rb", "ruby"),
        ("package.json index.html", "node"),
        ("server.js", "node"),
        ("Procfile package.json", "node"),
        ("requirements.txt package.json", "node"),
        ("requirements.txt", "python"),
        ("Procfile requirements.txt index.html", "python"),
        ("pyproject.toml src/app.py", "python"),
        ("main.py index.html", "python"),
        ("go.mod main.go index.html", "go"),
        ("main.go", "go"),
        ("index.html app.js style.css", "static"),
        ("Staticfile dist/index.html", "static"),
        ("Staticfile Procfile", "static"),
        ("index.html Procfile start.sh", "procfile"),
    ],
)
async def test_files_tell_the_kind_of_app(names: str, plugin: str) -> None:
    """The first plugin in the order whose rule matches."""
    assert await find(named(names)) == [plugin]


@pytest.mark.parametrize(
    "line",
    [
        "require 'sinatra'",
        'require "sinatra"',
        "require('sinatra/base')",
        "  require ( 'sinatra' )",
        "# the app\nrequire 'json'\nrequire 'sinatra'\n",
    ],
)
async def test_a_file_that_requires_sinatra_is_a_ruby_app(line: str) -> None:
    """The rule of the 2012 manifest, by content."""
    assert await find({"hello.rb": line}) == ["ruby"]


@pytest.mark.parametrize(
    "files",
    [
        {"hello.rb": "require 'sinatras'"},
        {"hello.rb": "puts 'require sinatra'"},
        {"lib/hello.rb": "require 'sinatra'"},
        {"hello.rb": "require 'sinatra'", "config/environment.rb": ""},
        {"notes.txt": ""},
        {"deep/down/requirements.txt": ""},
        {},
    ],
)
async def test_what_tells_nothing_is_refused_with_all_that_was_tried(files: dict[str, str]) -> None:
    """The sentence names the plugins, the hint names files."""
    with pytest.raises(NoPluginMatched, match=r"tried php, ruby, nodejs, .*binary") as caught:
        await find(files)
    assert "Procfile" in caught.value.hint


async def test_a_start_command_is_enough() -> None:
    """Any program can be an app."""
    assert await find({"server": ""}, command="./server") == ["procfile"]


@pytest.mark.parametrize(
    ("framework", "plugin"),
    [
        ("sinatra", "ruby"),
        ("rack", "ruby"),
        ("node", "node"),
        ("php", "php"),
        ("wsgi", "python"),
        ("standalone", "procfile"),
        ("go", "go"),
    ],
)
async def test_a_framework_of_2012_is_not_questioned(framework: str, plugin: str) -> None:
    """Only `framework_info.name` chose the plugin, whatever the files."""
    assert await find(named("index.html"), framework=framework) == [plugin]


@pytest.mark.parametrize(
    ("buildpacks", "plugin"),
    [
        (["python_buildpack"], "python"),
        (["nodejs_buildpack"], "node"),
        (["staticfile_buildpack"], "static"),
        (["binary_buildpack"], "procfile"),
        (["Ruby"], "ruby"),
        (["nodejs_buildpack", "ruby_buildpack"], "node ruby"),
    ],
)
async def test_buildpacks_are_known_by_their_names(buildpacks: list[str], plugin: str) -> None:
    """All that were asked for take part, in that order."""
    assert await find({}, buildpacks=buildpacks) == plugin.split()


async def test_a_list_without_wishes_is_tried_in_its_order() -> None:
    """The first that recognises the app takes it, and those that are not in it never do."""
    files = named("index.php requirements.txt index.html")
    listed = [BuildpackToTry(name=f"{name}_buildpack") for name in ("go", "staticfile", "python")]
    assert await find(files, listed=listed) == ["static"]
    assert await find(named("server"), listed=[*listed, BINARY], command="./server") == ["procfile"]
    with pytest.raises(NoPluginMatched, match="tried go, staticfile, python"):
        await find(named("server"), listed=listed, command="./server")


async def test_a_wish_in_the_list_is_not_questioned() -> None:
    """The others in it are for the case that there is none."""
    listed = [BINARY, BuildpackToTry(name="go_buildpack", skip_detect=True)]
    assert await find(named("Procfile"), listed=listed) == ["go"]


def test_every_plugin_is_a_buildpack_that_controllers_know_of() -> None:
    """The names on the wire and the plugins are the same, in the same order."""
    assert [built_in(name) for name in BUILT_IN_BUILDPACKS] == list(PLUGINS)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"framework": "grails"}, "sinatra"),
        ({"buildpacks": ["python_buildpack", "cobol"]}, "python_buildpack"),
    ],
)
async def test_an_unknown_wish_is_refused_with_those_that_can_be_had(
    asked: dict[str, object], known: str
) -> None:
    """Nothing else is tried in its place."""
    with pytest.raises(UnknownPlugin) as caught:
        await find(named("requirements.txt"), **asked)  # type: ignore[arg-type]
    assert known in caught.value.hint
