"""The pure parts: trees, Procfiles, requirements, scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.stager.environment import parse_environment
from appliance.stager.errors import BuildFailed
from appliance.stager.plugins.static import staticfile
from appliance.stager.procfile import parse_procfile
from appliance.stager.requirements import gather_requirements, has_requirements
from appliance.stager.startup import (
    main_command,
    profile_script,
    staging_info,
    startup_script,
    stop_script,
)
from appliance.stager.tree import tree_of


def test_a_star_does_not_go_into_folders() -> None:
    """As in the 2012 rules, `*.py` means the top."""
    tree = tree_of({"app.py": "", "lib/x.py": "", "lib/deep/y.py": ""})
    assert tree.find("*.py") == ("app.py",)
    assert tree.find("lib/*.py") == ("lib/x.py",)


def test_a_procfile_has_one_command_per_type() -> None:
    """Comments and other lines are passed over, the last of equal types counts."""
    text = "# ours\nweb: gunicorn app:app -b :$PORT\n\nworker:  ./work --all \nnonsense\nweb:x\n"
    assert parse_procfile(text) == {"web": "x", "worker": "./work --all"}


def test_requirements_include_others() -> None:
    """Relative to the file that includes; a continued line is one."""
    tree = tree_of(
        {
            "requirements.txt": "-r req/base.txt\nsix \\\n  ==1.0\n",
            "req/base.txt": "flask\n--requirement more.txt\n",
            "req/more.txt": "rich\n",
        }
    )
    assert gather_requirements(tree).split("\n") == ["flask", "rich", "six    ==1.0", ""]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"requirements.txt": "-r gone.txt"}, "not in the app"),
        ({"requirements.txt": "-r ../../etc/passwd"}, "not in the app"),
        ({"requirements.txt": "-r requirements.txt"}, "files deep"),
        ({"requirements.txt": "-c limits.txt", "limits.txt": ""}, "constraints"),
        ({"pyproject.toml": "[project"}, "cannot be read"),
        ({"pyproject.toml": "project = 3"}, "cannot be read"),
        ({"pyproject.toml": "[project]\ndependencies = 'x'"}, "list of strings"),
    ],
)
def test_bad_requirements_are_told(files: dict[str, str], sentence: str) -> None:
    """Nothing outside of the app is read, and no circle is followed."""
    with pytest.raises(BuildFailed, match=sentence):
        gather_requirements(tree_of(files))


def test_a_project_lists_its_dependencies() -> None:
    """Without a requirements.txt, pyproject.toml counts."""
    text = '[project]\nname = "x"\ndependencies = ["flask>=2", "six"]\n'
    assert gather_requirements(tree_of({"pyproject.toml": text})) == "flask>=2\nsix\n"
    assert not has_requirements(gather_requirements(tree_of({"requirements.txt": "# none\n\n"})))


def test_staticfiles_are_name_and_value() -> None:
    """Other lines are passed over."""
    assert staticfile("root: dist\n# x\npushstate: enabled\n") == {
        "root": "dist",
        "pushstate": "enabled",
    }


def test_an_environment_with_a_nul_is_refused() -> None:
    """It would end one word of a command line and begin another."""
    assert parse_environment(["A=1", "B=x=y", "C", "=d"]) == {"A": "1", "B": "x=y", "C": ""}
    with pytest.raises(BuildFailed, match="NUL"):
        parse_environment(["A=1\0--bind"])


def test_staging_info_is_json_with_all_processes() -> None:
    """The start command is the web process's, or the only one's."""
    info = json.loads(staging_info("python", {"worker": "w", "web": "python3 app.py"}))
    assert info["detected_buildpack"] == "python"
    assert info["start_command"] == "python3 app.py"
    assert info["process_types"] == {"worker": "w", "web": "python3 app.py"}
    assert main_command({"worker": "w"}) == "w"


def test_the_startup_script_has_the_shape_of_2012() -> None:
    """Sorted exports, TMPDIR, app folder, command with `$@`, pid file, wait."""
    text = startup_script("%VCAP_LOCAL_RUNTIME% main.rb $@", {"B": "2", "A": None, "C": "$PWD/c"})
    lines = [line.strip() for line in text.splitlines()]
    wanted = [
        "#!/bin/bash",
        "unset A",
        'export B="2"',
        'export C="$PWD/c"',
        'export TMPDIR="$PWD/tmp"',
        "cd app",
        "%VCAP_LOCAL_RUNTIME% main.rb $@ 2>&3 3>&- &",
        "STARTED=$!",
        'echo "$STARTED" >> ../run.pid',
    ]
    assert [line for line in lines if line in wanted] == wanted
    assert "" not in lines


def test_the_stop_script_kills_the_process_and_its_parent() -> None:
    """Its argument is the pid of run.pid; killing both is what a DEA of 2012 relies on."""
    text = stop_script()
    assert "APP_PID=$1" in text
    assert text.count("kill -9") == 2


@pytest.fixture
def droplet(tmp_path: Path) -> Path:
    """The folders of an empty droplet."""
    for name in ("app", "deps/0", "profile.d", "logs", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@contextmanager
def start(droplet: Path, command: str, *args: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run the startup script for *command* as a DEA does: a session of its own."""
    script = droplet / "startup"
    script.write_text(startup_script(command))
    script.chmod(0o500)
    with subprocess.Popen(
        [script, *args],
        cwd=droplet,
        env={"PATH": os.environ["PATH"], **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(droplet: Path, command: str, *args: str, **env: str) -> tuple[str, int]:
    """What the script prints, and its status."""
    with start(droplet, command, *args, **env) as process:
        output, _ = process.communicate(timeout=10)
        return output, process.returncode


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("echo $HOME $PORT $TMPDIR $DEPS_DIR $@", "{0}/app 81 {0}/tmp {0}/deps -p 80"),
        ("cd . && echo one; echo two $@", "one\ntwo -p 80"),
        ("NAME=x env | grep ^NAME", "NAME=x"),
        ("echo $GREETING $MORE", "hi there"),
        ("""echo "it's" 'a $HOME'""", "it's a $HOME"),
    ],
)
def test_a_droplets_script_runs_its_command(droplet: Path, command: str, printed: str) -> None:
    """With the exports, what profile.d and .profile add, and the arguments."""
    (droplet / "profile.d" / "0_x.sh").write_text(profile_script({"GREETING": "${GREETING:-hi}"}))
    (droplet / "app" / ".profile").write_text("export MORE=there\n")
    output, status = run(droplet, command, "-p", "80", VCAP_STREAM_LOGS="1", VCAP_APP_PORT="81")
    assert output.strip() == printed.format(droplet)
    assert status == 0
    assert (droplet / "run.pid").read_text().strip().isdigit()


def test_output_goes_to_files_as_in_2012_unless_it_is_streamed(droplet: Path) -> None:
    """A DEA of 2012 reads logs/stdout.log and logs/stderr.log."""
    assert run(droplet, "echo out; echo err >&2") == ("", 0)
    assert (droplet / "logs" / "stdout.log").read_text() == "out\n"
    assert (droplet / "logs" / "stderr.log").read_text() == "err\n"


def test_another_command_can_take_its_place(droplet: Path) -> None:
    """A task or another process type runs in the same surroundings."""
    task = "echo task in $(basename $PWD)"
    output, _ = run(droplet, "echo web", VCAP_STREAM_LOGS="1", VCAP_START_COMMAND=task)
    assert output == "task in app\n"


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("kill -9 $$; sleep 9", 137)])
def test_the_status_is_the_commands(droplet: Path, command: str, status: int) -> None:
    """A crash is told apart from a regular end, and bash does not comment on it."""
    assert run(droplet, command + " ;", VCAP_STREAM_LOGS="1") == ("", status)


@pytest.mark.parametrize("whole_group", [True, False])
def test_a_term_reaches_the_app_exactly_once(droplet: Path, whole_group: bool) -> None:
    """Whether the signal is for the script alone or for its group; the app may say goodbye."""
    (droplet / "app" / "app.py").write_text(
        "import os, signal, sys, time\n"
        "def bye(*_):\n    os.write(1, b'bye\\n')\n    time.sleep(0.2)\n    sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, bye)\nos.write(1, b'up\\n')\ntime.sleep(30)\n"
    )
    with start(droplet, f"{sys.executable} app.py", VCAP_STREAM_LOGS="1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        if whole_group:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[0] == "bye\n"
        assert process.returncode == 7


def test_stderr_of_the_app_is_its_own(droplet: Path) -> None:
    """It is streamed with the rest, for simple commands and for longer ones."""
    assert run(droplet, "ls /nothing-here", VCAP_STREAM_LOGS="1")[0].startswith("ls: ")
    assert run(droplet, "echo a >&2 && echo b >&2", VCAP_STREAM_LOGS="1")[0] == "a\nb\n"
