"""Files by ssh: SFTP and scp, by asyncssh's client and by OpenSSH's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import asyncssh
import pytest
import trio

from .conftest import USER, Site, a_site

pytestmark = pytest.mark.other_users

DATA = os.urandom(3_000_001)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a few things in it."""
    folder = tmp_path / "tree"
    (folder / "in ner").mkdir(parents=True)
    (folder / "big").write_bytes(DATA)
    (folder / "in ner" / "small").write_text("small\n")
    (folder / "in ner" / "empty").touch()
    (folder / "run").write_text("#!/bin/sh\necho ran\n")
    (folder / "run").chmod(0o750)
    os.utime(folder / "big", (1_000_000_000, 1_100_000_000))
    return folder


def same(one: Path, other: Path) -> bool:
    """Whether two trees have the same files, with the same contents and modes."""

    def look(root: Path) -> dict[str, tuple[int, bytes]]:
        return {
            str(path.relative_to(root)): (path.stat().st_mode & 0o777, path.read_bytes())
            for path in root.rglob("*")
            if path.is_file()
        }

    return look(one) == look(other) and bool(look(one))


@pytest.mark.parametrize("sandbox", ["auto", "off"])
async def test_sftp_puts_and_gets_whole_trees(sandbox: str, tree: Path, tmp_path: Path) -> None:
    """Relative to the app's folder, with modes and times."""

    async def copy(connection: asyncssh.SSHClientConnection) -> str:
        async with connection.start_sftp_client() as sftp:
            await sftp.put(str(tree), "there", recurse=True, preserve=True)
            await sftp.get("there", str(tmp_path / "back"), recurse=True, preserve=True)
            return str(await sftp.realpath("there/in ner"))

    async with a_site(sandbox) as site:
        assert (await site.client(copy)).endswith("/app/there/in ner")
        assert (await site.run("./there/run")).stdout == "ran\n"
    assert same(tree, tmp_path / "back")
    assert (tmp_path / "back" / "big").stat().st_mtime == 1_100_000_000


async def test_sftp_does_what_file_managers_do(site: Site) -> None:
    """Rename, link, list, look, change, remove; and each refusal has its name."""

    async def manage(connection: asyncssh.SSHClientConnection) -> None:
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs("a/b")
            async with sftp.open("a/one", "w") as file:
                await file.write("0123456789")
                await file.seek(4)
                await file.write("x")
            async with sftp.open("a/one", "a") as file:
                await file.write("end")
            async with sftp.open("a/one") as file:
                assert await file.read() == "0123x56789end"
            await sftp.rename("a/one", "a/two")
            # The draft's order, which this client keeps to; the server goes by OpenSSH's.
            await sftp.symlink("a/link", "two")
            assert await sftp.readlink("a/link") == "two"
            await sftp.link("a/two", "a/hard")
            assert (await sftp.stat("a/link")).size == 13
            assert sorted(map(str, await sftp.listdir("a"))) == [
                ".", "..", "b", "hard", "link", "two",
            ]  # fmt: skip
            await sftp.truncate("a/two", 3)
            await sftp.chmod("a/two", 0o600)
            found = await sftp.stat("a/hard")
            assert (found.size, (found.permissions or 0) & 0o777) == (3, 0o600)
            async with sftp.open("a/three", "w"):
                pass
            with pytest.raises(asyncssh.SFTPFailure):
                await sftp.rename("a/three", "a/two")
            await sftp.posix_rename("a/three", "a/two")
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.stat("a/three")
            with pytest.raises(asyncssh.SFTPFailure):
                await sftp.rmdir("a")
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await sftp.mkdir("/usr/intruder")
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.listdir("/root/of/nothing")
            await sftp.rmtree("a")
            assert not await sftp.exists("a")

    await site.client(manage)


async def test_scp_by_its_old_protocol_copies_both_ways(
    site: Site, tree: Path, tmp_path: Path
) -> None:
    """With -r and -p, as old clients and scripts do; patterns are the far end's."""

    async def copy(connection: asyncssh.SSHClientConnection) -> None:
        await asyncssh.scp(str(tree), (connection, "there"), recurse=True, preserve=True)
        await asyncssh.scp(
            (connection, "there"), str(tmp_path / "back"), preserve=True, recurse=True
        )
        await asyncssh.scp((connection, "there/b*g"), str(tmp_path / "one"), preserve=True)
        with pytest.raises(asyncssh.SFTPError, match="No such file"):
            await asyncssh.scp((connection, "missing"), str(tmp_path))
        with pytest.raises(asyncssh.SFTPError, match="not a regular file"):
            await asyncssh.scp((connection, "there"), str(tmp_path))
        with pytest.raises(asyncssh.SFTPError, match="No such file"):
            await asyncssh.scp(str(tree / "run"), (connection, "no/such/folder"))

    await site.client(copy)
    assert same(tree, tmp_path / "back")
    assert (tmp_path / "one").read_bytes() == DATA
    assert (tmp_path / "one").stat().st_mtime == 1_100_000_000


async def test_openssh_does_it_all(site: Site, tree: Path, tmp_path: Path) -> None:
    """ssh, scp in both of its ways, and sftp, as they are installed here."""
    missing = [name for name in ("ssh", "scp", "sftp", "sshpass") if not shutil.which(name)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    host = "127.0.0.1"
    settings = {
        "User": USER,
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": tmp_path / "known",
        "PreferredAuthentications": "password",
        "BatchMode": "no",
    }
    options = ["-F", "none", *(f"-o{key}={value}" for key, value in settings.items())]

    async def person(*words: object, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        program, *rest = map(str, words)
        port = "-p" if program == "ssh" else "-P"
        argv = ["sshpass", "-e", program, *options, port, str(site.port), *rest]
        with trio.fail_after(30):
            done = await trio.run_process(
                argv, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False,
                env={**os.environ, "SSHPASS": site.code()},
            )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    status, out, err = await person("ssh", host, "cat; echo bad >&2; exit 5", stdin=b"in")
    assert (status, out) == (5, b"in")
    assert err.endswith(b"bad\n")
    status, out, _ = await person("ssh", "-tt", host, "tty; stty size")
    assert status == 0
    assert out.startswith(b"/dev/pts/")
    status, out, _ = await person("ssh", "-T", host, stdin=b"echo from a shell; exit 4")
    assert (status, out) == (4, b"from a shell\n")
    assert (await person("scp", "-rp", tree, f"{host}:new"))[0] == 0
    assert (await person("scp", "-Orp", f"{host}:new", tmp_path / "back"))[0] == 0
    assert same(tree, tmp_path / "back")
    batch = f"""\
get -r new {tmp_path}/third
ls -l new
ln -s large new/link
rename new/big new/large
rm new/large
"""
    status, out, err = await person("sftp", "-b", "-", host, stdin=batch.encode())
    assert status == 0, err
    assert b"-rwxr-x---" in out
    assert same(tree, tmp_path / "third")
    assert (await person("ssh", host, "readlink new/link; test -e new/large"))[:2] == (
        1,
        b"large\n",
    )
