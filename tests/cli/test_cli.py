"""The command itself: help, versions, exit codes, and how errors leave it."""

import json
import os
import subprocess
import sys
from typing import Any

import click
import pytest

from appliance import __version__, cli
from appliance.kernel.errors import ApplianceError

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def shell(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRON | environ,
        timeout=30,
        check=False,
    )


def test_version() -> None:
    """In a process of its own, as people call it."""
    done = shell("--version")
    assert (done.returncode, done.stdout) == (0, f"appliance {__version__}\n")


def test_version_and_help_load_no_more_than_click() -> None:
    """They answer at once: no trio, no HTTP client, no command's module."""
    code = (
        "import sys; from appliance.cli import main; main(['--version']); main(['--help']);"
        "print(sorted(m for m in sys.modules if m in ('trio', 'httpx2', 'rich', 'quart')"
        " or m.startswith('appliance.commands.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRON, check=True
    )
    assert (
        done.stdout.splitlines()[-1] == "['appliance.commands.errors', 'appliance.commands.target']"
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(run: Any, name: str) -> None:
    """And the list of commands says the same as the command itself."""
    done = run(name, "--help")
    assert done.code == 0
    assert f"Usage: appliance {name}" in done.out
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    assert command.get_short_help_str(200) == cli.COMMANDS[name][1]


def test_the_list_of_commands(run: Any) -> None:
    """In the order of use."""
    out = run("--help").out
    assert out.index("  up ") < out.index("  push ") < out.index("  completion ")


@pytest.mark.parametrize(
    ("wrong", "right"), [("psuh", "push"), ("log", "logs"), ("scle", "scale"), ("route", "routes")]
)
def test_a_misspelt_command_is_suggested(run: Any, wrong: str, right: str) -> None:
    """Exit code 2, as for all wrong usage."""
    done = run(wrong)
    assert done.code == 2
    assert f"There is no command {wrong}. Did you mean {right}?" in done.err


def test_a_misspelt_option_is_suggested(run: Any) -> None:
    """click does that."""
    done = run("push", "x", "--memry", "1G")
    assert done.code == 2
    assert "--memory" in done.err


def test_wrong_usage_is_json_when_json_is_wanted(run: Any) -> None:
    """Even where the rest of the line cannot be understood."""
    done = run("scale", "x", "--output", "json")
    assert done.code == 2
    assert done.err == ""
    assert done.json["error"]["code"] == "usage"
    assert run("apps", "--output=json", "--nonsense").json["error"]["exit_code"] == 2


def test_nobody_there_is_69_with_a_hint(run: Any) -> None:
    """Two lines on stderr."""
    done = run("apps")
    assert done.code == 69
    assert done.out == ""
    first, second = done.err.splitlines()
    assert first.startswith("appliance: No appliance was found")
    assert second.startswith("  hint: Start one with `appliance up`")


def test_nobody_there_is_json_too(run: Any) -> None:
    """With the same exit code."""
    done = run("apps", "--output", "json")
    assert done.code == 69
    assert done.json["error"]["code"] == "not-running"


def test_nobody_behind_the_address_is_69(run: Any) -> None:
    """The sentence names address and where it came from."""
    done = run("--api", "http://127.0.0.1:1", "apps")
    assert done.code == 69
    assert "127.0.0.1:1" in done.err
    assert "from --api" in done.err


def test_a_wrong_setting_is_78(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started with settings that are not understood."""
    monkeypatch.setenv("APPLIANCE_STAGRES", "2")
    done = run("config", "show")
    assert done.code == 78
    assert "hint: Did you mean APPLIANCE_STAGERS?" in done.err


def test_a_bug_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nobody's error leaves with its traceback."""

    def broken(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.cli, "main", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_errors_are_found_inside_of_groups(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A nursery raises groups, even of one; two bugs in one are still bugs."""

    def raising(error: BaseException) -> Any:
        def broken(*arguments: object, **more: object) -> None:
            raise error

        return broken

    refused = ExceptionGroup("", [ExceptionGroup("", [ApplianceError("It broke.", hint="Mend.")])])
    monkeypatch.setattr(cli.cli, "main", raising(refused))
    assert cli.main([]) == 1
    assert capsys.readouterr().err == "appliance: It broke.\n  hint: Mend.\n"
    mixed = ExceptionGroup("", [ApplianceError("It broke."), ZeroDivisionError()])
    monkeypatch.setattr(cli.cli, "main", raising(mixed))
    with pytest.raises(ExceptionGroup):
        cli.main([])


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), click.Abort(), BaseExceptionGroup("", [KeyboardInterrupt()])]
)
def test_ctrl_c_is_130_without_a_word(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person knows."""

    def interrupted(*arguments: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", interrupted)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """`appliance config show | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "config", "show"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Any, name: str) -> None:
    """They call us back with the variable that we listen to."""
    done = run("completion", name)
    assert done.code == 0
    assert "_APPLIANCE_COMPLETE" in done.out


def test_the_shell_is_told_commands_and_options() -> None:
    """As the script for bash asks."""
    done = shell(_APPLIANCE_COMPLETE="bash_complete", COMP_WORDS="appliance ro", COMP_CWORD="1")
    assert done.stdout.split() == ["plain,routes"]
    done = shell(
        _APPLIANCE_COMPLETE="bash_complete", COMP_WORDS="appliance push --mem", COMP_CWORD="2"
    )
    assert done.stdout.split() == ["plain,--memory"]


def test_settings_are_shown_with_their_origin(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And secrets are not."""
    monkeypatch.setenv("APPLIANCE_ARCHIVER_BATCH", "8")
    lines = run("config", "show", "--origin").out.splitlines()
    (batch,) = [line.split() for line in lines if line.startswith("archiver.batch ")]
    assert batch == ["archiver.batch", "=", "8", "#", "env", "APPLIANCE_ARCHIVER_BATCH"]
    assert not any('"admin"' in line for line in lines if ".password" in line)
    shown = run("config", "show", "--origin", "--output", "json").json
    assert shown["archiver.batch"] == {"value": 8, "origin": "env APPLIANCE_ARCHIVER_BATCH"}
    assert shown["package_cache.runtimes"]["value"] == {"python3": "python3", "ruby": "ruby"}
    assert run("config", "show", "--output", "json").json["archiver.batch"] == 8


def test_version_is_json_too(run: Any) -> None:
    """For bug reports."""
    assert run("version", "--output", "json").json["version"] == __version__
    assert json.loads(shell("version", "--output", "json").stdout)["version"] == __version__
