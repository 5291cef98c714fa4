"""Profiles become command lines: what is where, in which order, and what is not shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.kernel.errors import BadRequest
from appliance.kernel.process import landlock
from appliance.kernel.process.bubblewrap import Bubblewrap, Tools, hostname, layout
from appliance.kernel.process.launcher import Launcher
from appliance.kernel.process.profile import Limits, Profile, inside, outside
from appliance.kernel.process.reach import passable
from appliance.kernel.process.spawner import Data

PROFILE = Profile(
    name="my app/0",
    home=Path("/state/home"),
    limits=Limits(memory=1 << 28, disk=1 << 20, processes=50, files=9999),
    env={"SECRET": "password"},
    read_only={Path("/state/tools"): "/opt/tools", Path("/state/tools/private"): "/srv/private"},
    writable={Path("/state/cache"): "/home/vcap/cache"},
)
ROOT = Tools(
    bwrap="/usr/bin/bwrap",
    prlimit="/usr/bin/prlimit",
    setpriv="/usr/bin/setpriv",
    uid=22000,
    roots=("--ro-bind", "/usr", "/usr"),
    seccomp=b"filter",
    files_most=4096,
)
USER = Tools(bwrap="/usr/bin/bwrap", prlimit="/usr/bin/prlimit")


def words(tools: Tools, profile: Profile = PROFILE) -> list[str]:
    """The whole command line as bwrap understands it, with the options in their place."""
    found: list[str] = []
    for word in Bubblewrap(tools=tools).command(profile, ["run", Path("/x")]).argv:
        if isinstance(word, Data) and word == "<options>":
            found += word.content.decode().split("\0")
        else:
            found.append(str(word))
    return found


def holds(found: Sequence[str], *part: str) -> bool:
    return any(tuple(found[at : at + len(part)]) == part for at in range(len(found)))


def test_root_drops_first_and_limits_come_last() -> None:
    """Before bwrap it is no longer root; processes are counted where only the app's are."""
    found = words(ROOT)
    assert found[:3] == ["/usr/bin/setpriv", "--reuid=22000", "--regid=22000"]
    limits = found[found.index("/usr/bin/prlimit") :]
    assert limits[1:6] == [
        "--data=268435456",
        "--fsize=1048576",
        "--nproc=50",
        "--nofile=4096",  # no more than the machine allows
        "--core=0",
    ]
    assert limits[6:] == ["--", "run", "/x"]
    assert words(USER)[0] == "/usr/bin/bwrap"


def test_the_root_is_closed_after_the_last_mount() -> None:
    """Anything mounted later would find it read-only; anything less leaves RAM open."""
    found = words(ROOT)
    closed = found.index("/", found.index("--remount-ro", found.index("--chdir")))
    for option in ("--bind", "--ro-bind-try", "--tmpfs", "--file", "--proc"):
        assert max(at for at, word in enumerate(found) if word == option) < closed
    assert holds(found, "--tmpfs", "/dev/shm", "--remount-ro", "/dev")


def test_nothing_of_the_environment_is_an_argument() -> None:
    """It goes through a descriptor; the wrapper itself has PATH, and whose child it is."""
    command = Bubblewrap(tools=ROOT).command(PROFILE, ["run"])
    assert "password" not in " ".join(map(str, command.argv))
    assert set(command.env) == {"PATH", "APPLIANCE_RUN"}
    assert holds(words(ROOT), "--clearenv")
    assert holds(words(ROOT), "--setenv", "SECRET", "password")


@pytest.mark.parametrize(
    "variable", [{"A": "x\0--bind\0/\0/mnt"}, {"A\0B": ""}, {"A=B": ""}, {"": ""}]
)
def test_a_value_cannot_become_an_option(variable: dict[str, str]) -> None:
    """Options are parted by NUL bytes: one in a value would mount what the app likes."""
    hostile = Profile(name="x", home=Path("/h"), env=variable)
    for builder in (Bubblewrap(tools=ROOT), Launcher()):
        with pytest.raises(BadRequest, match="cannot be set"):
            builder.command(hostile, ["run"])
    with pytest.raises(BadRequest, match="NUL"):
        words(ROOT, Profile(name="x", home=Path("/h"), cwd="/\0--bind\0/\0/mnt"))


def test_the_network_is_shared_only_when_asked_for() -> None:
    """Names are then found as the machine finds them; otherwise there is only localhost."""
    host = Profile(name="x", home=Path("/h"), network="host")
    assert "--share-net" not in words(ROOT)
    assert "/etc/resolv.conf" not in words(ROOT)
    assert holds(words(ROOT), "<hosts>", "/etc/hosts")
    assert "--share-net" in words(ROOT, host)
    assert holds(words(ROOT, host), "--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf")
    assert "<hosts>" not in words(ROOT, host)


def test_a_proxy_is_a_socket_and_no_network() -> None:
    """What listens for it is the first program inside; the variables win over the profile's."""
    tools = replace(ROOT, python=("/opt/python/bin/python3", "/opt/python"))
    boxed = Profile(
        name="x",
        home=Path("/h"),
        network="egress",
        egress=Path("/state/socket"),
        env={"HTTPS_PROXY": "http://elsewhere.test"},
    )
    found = words(tools, boxed)
    assert "--share-net" not in found
    assert "/etc/resolv.conf" not in found
    assert holds(found, "--bind", "/state/socket", "/run/egress")
    assert holds(found, "--ro-bind-try", "/opt/python", "/opt/python")
    assert holds(found, "--setenv", "HTTPS_PROXY", "http://127.0.0.1:3128")
    shim = ["/opt/python/bin/python3", "-I", "-S", "/run/egress_shim.py", "/run/egress", "3128"]
    assert found[-9:] == ["--", *shim, "run", "/x"]
    for tool, profile in ((tools, replace(boxed, egress=None)), (ROOT, boxed)):
        with pytest.raises(BadRequest, match="there is none"):
            words(tool, profile)


def test_without_a_filter_user_namespaces_are_closed_otherwise() -> None:
    """On a processor whose numbers are not known."""
    assert "--disable-userns" in words(USER)
    assert "--disable-userns" not in words(ROOT)
    assert holds(words(ROOT), "--seccomp", "<seccomp>")


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("/state/home", "/home/vcap"),
        ("/state/home/app/run.py", "/home/vcap/app/run.py"),
        ("/state/tools/bin/x", "/opt/tools/bin/x"),
        ("/state/tools/private/x", "/srv/private/x"),
        ("/state/cache/x", "/home/vcap/cache/x"),
        ("/usr/bin/env", "/usr/bin/env"),
    ],
)
def test_paths_are_translated_both_ways(host: str, place: str) -> None:
    """The innermost folder that was put somewhere decides."""
    assert inside(PROFILE, Path(host)) == place
    assert outside(PROFILE, place) == Path(host)


def test_what_is_not_seen_has_no_place() -> None:
    """Better an error here than a program that does not find its file."""
    with pytest.raises(ValueError, match=r"/etc/shadow is not to be seen in my app/0"):
        inside(PROFILE, Path("/etc/shadow"))


@pytest.mark.parametrize(
    ("name", "host"),
    [("my app/0", "my-app-0"), ("-x-", "x"), ("…", "app"), ("a" * 80, "a" * 63)],
)
def test_any_name_gives_a_host_name(name: str, host: str) -> None:
    """The kernel takes 64 bytes; other programs want letters, digits and hyphens."""
    assert hostname(name) == host


def test_the_layout_follows_the_machine(tmp_path: Path) -> None:
    """/bin is a link on merged systems and a folder on others; absent ones stay absent."""
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "lib").mkdir()
    found = layout(tmp_path)
    assert holds(found, "--symlink", "usr/bin", "/bin")
    assert holds(found, "--ro-bind", "/lib", "/lib")
    assert "/lib64" not in found


def test_a_folder_is_passable_if_all_above_it_are(tmp_path: Path) -> None:
    """The owner's bit counts for the owner, the last one for everybody else."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for one in (folder, *folder.parents):
        if one.is_relative_to(tmp_path):
            one.chmod(0o711)
    stranger = os.getuid() + 12345
    open_above = passable(tmp_path.parent, stranger)
    assert passable(folder, stranger) is open_above
    (tmp_path / "a").chmod(0o700)
    assert not passable(folder, stranger)
    assert passable(folder, os.getuid())
    assert not passable(tmp_path / "absent", os.getuid())


@pytest.mark.parametrize(
    ("abi", "size", "refer", "truncate"),
    [(1, 8, 0, 0), (2, 8, 1, 0), (3, 8, 1, 1), (4, 16, 1, 1), (7, 24, 1, 1)],
)
def test_landlock_asks_only_for_what_the_kernel_knows(
    abi: int, size: int, refer: int, truncate: int
) -> None:
    """An unknown right or a longer struct is an error to an older kernel."""
    rights = landlock.rights(abi)
    assert bool(rights & landlock.REFER) == refer
    assert bool(rights & landlock.TRUNCATE) == truncate
    assert len(landlock.ruleset(abi, network=False)) == size
    for _, allowed in landlock.rules(abi, readable=("/r",), writable=("/w",)):
        assert allowed & ~rights == 0
