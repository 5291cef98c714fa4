"""Which plugin takes which app: tables of file names, no disk."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from appliance.stager.detect import Detection, detect
from appliance.stager.errors import NoPluginMatched, UnknownPlugin
from appliance.stager.plugins.registry import FRAMEWORKS, PLUGINS
from appliance.stager.tree import tree_of


def find(
    files: dict[str, str],
    *,
    framework: str = "",
    buildpacks: Sequence[str] = (),
    command: str = "",
) -> Detection:
    """Detect with all plugins."""
    return detect(
        tree_of(files),
        plugins=PLUGINS,
        frameworks=FRAMEWORKS,
        framework=framework,
        buildpacks=buildpacks,
        command=command,
    )


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
def test_files_tell_the_kind_of_app(names: str, plugin: str) -> None:
    """The first plugin in the order whose rule matches."""
    assert find(named(names)).plugin.name == plugin


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
def test_a_file_that_requires_sinatra_is_a_ruby_app(line: str) -> None:
    """The rule of the 2012 manifest, by content."""
    assert find({"hello.rb": line}).plugin.name == "ruby"


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
def test_what_tells_nothing_is_refused_with_all_that_was_tried(files: dict[str, str]) -> None:
    """The sentence names the plugins, the hint names files."""
    with pytest.raises(NoPluginMatched, match=r"tried php, ruby, node, .*procfile") as caught:
        find(files)
    assert "Procfile" in caught.value.hint


def test_a_start_command_is_enough() -> None:
    """Any program can be an app."""
    assert find({"server": ""}, command="./server").plugin.name == "procfile"


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
def test_a_framework_of_2012_is_not_questioned(framework: str, plugin: str) -> None:
    """Only `framework_info.name` chose the plugin, whatever the files."""
    assert find(named("index.html"), framework=framework).plugin.name == plugin


@pytest.mark.parametrize(
    ("buildpacks", "plugin"),
    [
        (["python_buildpack"], "python"),
        (["nodejs_buildpack"], "node"),
        (["staticfile_buildpack"], "static"),
        (["binary_buildpack"], "procfile"),
        (["Ruby"], "ruby"),
        (["nodejs_buildpack", "ruby_buildpack"], "ruby"),
    ],
)
def test_buildpacks_are_known_by_their_names(buildpacks: list[str], plugin: str) -> None:
    """The last one is the one that starts the app."""
    assert find({}, buildpacks=buildpacks).plugin.name == plugin


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"framework": "grails"}, "sinatra"),
        ({"buildpacks": ["https://example.test/x.git"]}, "python_buildpack"),
        ({"buildpacks": ["python_buildpack", "cobol"]}, "python_buildpack"),
    ],
)
def test_an_unknown_wish_is_refused_with_those_that_can_be_had(
    asked: dict[str, object], known: str
) -> None:
    """Nothing else is tried in its place."""
    with pytest.raises(UnknownPlugin) as caught:
        find(named("requirements.txt"), **asked)  # type: ignore[arg-type]
    assert known in caught.value.hint
