"""The YAML files of 2012: what they say becomes settings, and nothing of them is an error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from appliance import legacy, settings
from appliance.commands.pid_file import PidFileHeld, pid_file
from appliance.config import Config
from appliance.kernel.errors import ConfigError

#: What the two articles of 2013 tell people to use.
STAGER = """---
logging:
  level: debug2
pid_filename: /tmp/staging-apps-in-cloudfoundry/stager/stager.pid
nats_uri: nats://127.0.0.1:4222
max_staging_duration: 120
max_active_tasks: 10
queues: ['staging']
secure: false
"""
DEA = """---
base_dir: /tmp/deploying-to-a-cloudfoundry-dea/var/dea
pid: /tmp/deploying-to-a-cloudfoundry-dea/var/run/dea.pid

runtimes:
  - ruby19

multi_tenant: true

max_memory: 1024

logging:
  level: debug
"""


def load(folder: Path, text: str, **flags: object) -> settings.Loaded:
    file = folder / "legacy.yml"
    file.write_text(text)
    return settings.load(file=file, environ={}, flags=flags)


def test_the_stager_of_the_article(tmp_path: Path) -> None:
    """Its process runs a stager and nothing else."""
    loaded = load(tmp_path, STAGER)
    config = loaded.config

    assert loaded.notes == ()
    assert config.only == ("stager",)
    assert config.bus == "nats://127.0.0.1:4222"
    assert config.pid_file == Path("/tmp/staging-apps-in-cloudfoundry/stager/stager.pid")
    assert config.verbose
    assert config.sandbox == "auto"
    assert config.stager.max_staging_duration == 120
    assert config.stager.max_active_tasks == 10
    assert config.stager.queues == ("staging",)


def test_the_dea_of_the_article(tmp_path: Path) -> None:
    """Without an address it looks for NATS where the original did."""
    loaded = load(tmp_path, DEA)
    config = loaded.config

    assert loaded.notes == ()
    assert config.only == ("dea",)
    assert config.bus == "nats://127.0.0.1:4222"
    assert config.dea.root == Path("/tmp/deploying-to-a-cloudfoundry-dea/var/dea")
    assert config.pid_file == Path("/tmp/deploying-to-a-cloudfoundry-dea/var/run/dea.pid")
    assert config.dea.runtimes == ("ruby19",)
    assert config.dea.max_memory == 1024
    assert config.dea.max_instances == Config().dea.max_instances


def test_everything_that_they_could_say(tmp_path: Path) -> None:
    """What has no effect is told, each with its reason."""
    stager = load(
        tmp_path,
        STAGER.replace("secure: false", "secure: true")
        + "dirs: {tmp: /tmp}\nindex: 3\nruby_path: /usr/bin/ruby\nlocal_route: 127.0.0.1\n",
    )
    assert stager.config.sandbox == "require"
    assert stager.config.stager.root == Path("/tmp/appliance-stager")
    assert [note.split(" has no effect: ")[0] for note in stager.notes] == [
        "legacy.yml: index", "legacy.yml: ruby_path", "legacy.yml: local_route",
    ]  # fmt: skip

    dea = load(
        tmp_path,
        DEA.replace("multi_tenant: true", "multi_tenant: false")
        + "filer_port: 12345\nmbus: nats://u:p@10.0.0.1:4222\n"
        "intervals: {heartbeat: 5, advertise: 2}\n"
        "force_http_sharing: true\nstatus: {user: u, password: p, port: 1}\nprod: true\n"
        "evacuation_delay: 30\n",
    )
    config = dea.config
    assert config.bus == "nats://u:p@10.0.0.1:4222"
    assert config.dea.bind == "127.0.0.1:12345"
    assert (config.dea.heartbeat, config.dea.advertise) == (5.0, 2.0)
    assert config.dea.max_instances == 1
    assert config.dea.force_http_sharing
    assert (config.status_user, config.status_password) == ("u", "p")
    assert [note.split(" has no effect: ")[0] for note in dea.notes] == [
        "legacy.yml: status.port", "legacy.yml: prod", "legacy.yml: evacuation_delay",
    ]  # fmt: skip


def test_a_flag_wins_over_the_file(tmp_path: Path) -> None:
    """As over any settings file."""
    config = load(tmp_path, STAGER, bus="nats://127.0.0.1:4333", only="stager,dea").config
    assert config.bus == "nats://127.0.0.1:4333"
    assert config.only == ("stager", "dea")


def test_an_unknown_key_is_passed_over_as_back_then(tmp_path: Path) -> None:
    """And told, since it may be a misspelt one."""
    loaded = load(tmp_path, STAGER + "max_activ_tasks: 3\n")
    assert [note.split(" has")[0] for note in loaded.notes] == ["legacy.yml: max_activ_tasks"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not YAML"),
        ("- a\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: x\n", "no key of a stager's or a DEA's"),
        (STAGER.replace(": 10", ": ten"), "max_active_tasks = 'ten': must be a whole number"),
        (STAGER.replace(": 10", ": true"), "must be a whole number"),
        (STAGER.replace("['staging']", "staging"), "queues = 'staging': must be a list of texts"),
        (STAGER.replace("secure: false", "secure: 1"), "must be true or false"),
        (STAGER.replace(": 120", ": soon"), "max_staging_duration = 'soon': must be a number"),
        (STAGER.replace(": 10", ": -1"), "must be above 0"),
        (DEA.replace("  - ruby19", "  ruby19: {}"), "runtimes"),
        ("queues: " + "[" * 3000, "is not YAML"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """The sentence names the key and the rule."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert says in str(caught.value)


def test_a_pid_file_keeps_a_second_one_out(tmp_path: Path) -> None:
    """As long as the first one lives; what a killed one left is replaced."""
    path = tmp_path / "run" / "stager.pid"
    dead = subprocess.Popen(["true"])
    dead.wait()
    path.parent.mkdir()
    path.write_text(f"{dead.pid}\n")

    with pid_file(path, os.getpid()):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(PidFileHeld, match=str(os.getpid())), pid_file(path, 1 << 22):
            pass
    assert not path.exists()


def test_a_pid_file_of_nonsense_is_nobodys(tmp_path: Path) -> None:
    """An empty or a broken one keeps nobody out; one that cannot be written is an error."""
    path = tmp_path / "x.pid"
    path.write_text("none\n")
    with pid_file(path, 5):
        assert path.read_text() == "5\n"
    with pytest.raises(ConfigError, match="cannot be written"), pid_file(tmp_path, 5):
        pass


def test_the_two_kinds_are_told_apart() -> None:
    """By the keys that only one of them has."""
    assert legacy.read("nats_uri: nats://a\n", "x").room == "stager"
    assert legacy.read("max_memory: 5\n", "x").room == "dea"
