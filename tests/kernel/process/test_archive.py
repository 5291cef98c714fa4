"""Honest archives: modes, links and times survive, and packing is always the same."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from appliance.kernel.process import archive_pack, archive_tar, archive_zip
from appliance.kernel.process.archive import (
    DROPLET_LIMITS,
    ArchiveLimits,
    ArchiveRefused,
    pack_tar_gz,
    unpack_tar,
    unpack_zip,
)

LONG = "a-rather-long-folder-name-of-some-package/" * 4 + "module.py"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with one of everything that an archive carries."""
    top = tmp_path / "app"
    (top / "bin").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o700)
    (top / "bin/start").write_text("#!/bin/sh\n")
    (top / "bin/start").chmod(0o755)
    (top / "secret").write_text("s")
    (top / "secret").chmod(0o600)
    (top / "staging_info.yml").write_text("{}")
    (top / "größe.txt").write_text("1")
    (top / "big").write_bytes(os.urandom(3_000_000))
    (top / "none").write_bytes(b"")
    (top / LONG).parent.mkdir(parents=True)
    (top / LONG).write_text("pass")
    (top / "bin/run").symlink_to("start")
    (top / "up").symlink_to("bin/../" + LONG)
    (top / "nowhere").symlink_to("bin/absent")
    os.link(top / "secret", top / "twin")
    return top


def listing(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Kind, mode, and content or target of everything below *folder*."""
    seen = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        name = str(path.relative_to(folder))
        if path.is_symlink():
            seen[name] = ("link", 0, os.readlink(path))
        elif path.is_dir():
            seen[name] = ("folder", mode, "")
        else:
            seen[name] = ("file", mode, hashlib.sha1(path.read_bytes()).hexdigest())
    return seen


def test_unpacks_what_it_packed(app: Path, tmp_path: Path) -> None:
    """Modes, links, hard links, empty folders, long and non-ASCII names are all kept."""
    packed = pack_tar_gz(app, tmp_path / "app.tgz")
    unpacked = unpack_tar(packed.path, tmp_path / "into")
    assert listing(tmp_path / "into") == listing(app)
    assert (tmp_path / "into/secret").stat().st_ino == (tmp_path / "into/twin").stat().st_ino
    assert unpacked.entries == packed.entries == len(listing(app))


def test_says_size_and_digests_of_what_it_wrote(app: Path, tmp_path: Path) -> None:
    """They are computed on the way, and are those of the file."""
    packed = pack_tar_gz(app, tmp_path / "app.tgz")
    data = packed.path.read_bytes()
    assert packed.size == len(data)
    assert packed.sha1 == hashlib.sha1(data).hexdigest()
    assert packed.sha256 == hashlib.sha256(data).hexdigest()


def test_packs_the_same_each_time(app: Path, tmp_path: Path) -> None:
    """Times, the order of creation and the number of threads leave no mark."""
    one = pack_tar_gz(app, tmp_path / "1.tgz", threads=1)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in sorted(os.listdir(app), reverse=True):
        subprocess.run(["cp", "-a", app / name, copy], check=True)
    (copy / "twin").unlink()
    os.link(copy / "secret", copy / "twin")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    two = pack_tar_gz(copy, tmp_path / "2.tgz", threads=2)
    assert one.sha256 == two.sha256


def test_tar_is_the_same_without_the_fast_compressor(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's zlib packs and unpacks the same tar, only slower."""
    fast = pack_tar_gz(app, tmp_path / "fast.tgz")
    for module in (archive_pack, archive_tar, archive_zip):
        monkeypatch.setattr(module, "codec", lambda: zlib)
    slow = pack_tar_gz(app, tmp_path / "slow.tgz")
    assert gzip.decompress(slow.path.read_bytes()) == gzip.decompress(fast.path.read_bytes())
    unpack_tar(fast.path, tmp_path / "into")
    assert listing(tmp_path / "into") == listing(app)


def test_other_programs_read_it(app: Path, tmp_path: Path) -> None:
    """GNU tar and `tarfile` agree with us, member by member."""
    packed = pack_tar_gz(app, tmp_path / "app.tgz", first=["staging_info.yml"])
    (tmp_path / "gnu").mkdir()
    subprocess.run(["tar", "xzpf", packed.path, "-C", tmp_path / "gnu"], check=True)
    assert listing(tmp_path / "gnu") == listing(app)
    with tarfile.open(packed.path) as read:
        members = read.getmembers()
    assert {member.name for member in members} == set(listing(app))
    assert all(not member.name.startswith("./") for member in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}


def test_puts_first_what_is_wanted_first(app: Path, tmp_path: Path) -> None:
    """The names given come in their order, then the rest sorted; absent ones do no harm."""
    packed = pack_tar_gz(app, tmp_path / "x.tgz", first=["staging_info.yml", "absent", "none"])
    with tarfile.open(packed.path) as read:
        names = [name for name in read.getnames() if "/" not in name]
    assert names[:2] == ["staging_info.yml", "none"]
    assert names[2:] == sorted(names[2:])


@pytest.mark.parametrize("length", [99, 100, 101, 155, 156, 200, 255, 256, 257, 300, 900])
@pytest.mark.parametrize("slash", [1, 50, 98, 99])
def test_names_of_every_length(tmp_path: Path, length: int, slash: int) -> None:
    """At each border of the old header's fields the name comes back as it was."""
    rest = length
    parts = ["d" * slash]
    rest -= slash + 1
    while rest > 200:
        parts.append("e" * 99)
        rest -= 100
    parts.append("f" * rest if rest > 0 else "f")
    name = "/".join(parts)
    path = tmp_path / "app" / name
    path.parent.mkdir(parents=True)
    path.write_text("x")
    packed = pack_tar_gz(tmp_path / "app", tmp_path / "x.tgz")
    unpack_tar(packed.path, tmp_path / "into")
    assert (tmp_path / "into" / name).read_text() == "x"
    with tarfile.open(packed.path) as read:
        assert name in read.getnames()


def test_sockets_and_pipes_are_left_out(tmp_path: Path) -> None:
    """What a build left behind and no archive can carry is told, not packed."""
    app = tmp_path / "a"
    app.mkdir()
    os.mkfifo(app / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(app / "sock"))
    packed = pack_tar_gz(app, tmp_path / "x.tgz")
    assert packed.skipped == ("pipe", "sock")
    assert packed.entries == 0


def test_links_to_the_build_folder_become_relative(tmp_path: Path) -> None:
    """What pointed into /home/vcap while building points to the same file in the droplet."""
    app = tmp_path / "a"
    (app / "deps/0/bin").mkdir(parents=True)
    (app / "deps/0/node").write_text("node")
    (app / "deps/0/bin/node").symlink_to("/home/vcap/deps/0/node")
    (app / "home").symlink_to("/home/vcap")
    packed = pack_tar_gz(app, tmp_path / "x.tgz", home="/home/vcap")
    unpack_tar(packed.path, tmp_path / "into")
    assert (tmp_path / "into/deps/0/bin/node").read_text() == "node"
    assert os.readlink(tmp_path / "into/home") == "."


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "x/../../outside"])
def test_refuses_to_pack_what_could_not_be_unpacked(tmp_path: Path, target: str) -> None:
    """Better said when it is built than when it should start; no half file is left."""
    app = tmp_path / "a"
    app.mkdir()
    (app / "l").symlink_to(target)
    with pytest.raises(ArchiveRefused, match="'l' is a link"):
        pack_tar_gz(app, tmp_path / "x.tgz")
    assert not (tmp_path / "x.tgz").exists()


def test_refuses_to_pack_names_that_are_no_text(tmp_path: Path) -> None:
    """A name in another encoding could not be unpacked strictly."""
    (tmp_path / "a").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/caf\xe9")).write_text("x")
    with pytest.raises(ArchiveRefused, match="not UTF-8"):
        pack_tar_gz(tmp_path / "a", tmp_path / "x.tgz")


def test_says_when_a_file_shrinks_while_it_is_packed(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header has promised more bytes than there are."""
    read = os.read

    def shrinking(file: int, size: int) -> bytes:
        if size > 100_000:
            os.truncate(app / "big", 10)
        return read(file, size)

    monkeypatch.setattr(os, "read", shrinking)
    with pytest.raises(ArchiveRefused, match="'big' became shorter"):
        pack_tar_gz(app, tmp_path / "x.tgz")


def test_an_error_of_the_disk_comes_through_the_helper_thread(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is an OSError to the caller, and no half archive or thread is left."""
    before = threading.active_count()

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        pack_tar_gz(app, tmp_path / "x.tgz")
    assert not (tmp_path / "x.tgz").exists()
    assert threading.active_count() == before


# Archives of others.


def test_unpacks_gnu_tar_with_leading_dots(app: Path, tmp_path: Path) -> None:
    """`tar -C x .` names everything ``./…``, the top folder too; times are kept."""
    os.utime(app / "secret", (1_000_000_000, 1_000_000_000))
    subprocess.run(["tar", "czf", tmp_path / "x.tgz", "-C", app, "."], check=True)
    unpack_tar(tmp_path / "x.tgz", tmp_path / "into")
    assert listing(tmp_path / "into") == listing(app)
    assert (tmp_path / "into/secret").stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "posix"])
def test_unpacks_every_form_of_tar(app: Path, tmp_path: Path, form: str) -> None:
    """Four headers, one tree; the oldest has no room for long names and hard links' targets."""
    if form in ("v7", "ustar"):
        shutil.rmtree(app / LONG.split("/")[0])
        (app / "up").unlink()
    options = [f"--format={form}", "-cf", str(tmp_path / "x.tar"), "-C", str(app), "."]
    subprocess.run(["tar", *options], check=True)
    unpack_tar(tmp_path / "x.tar", tmp_path / "into")
    assert listing(tmp_path / "into") == listing(app)


def test_unpacks_a_gzip_file_of_several_parts(tmp_path: Path) -> None:
    """Parallel compressors write one part after the other."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        info = tarfile.TarInfo("f")
        info.size = 5000
        made.addfile(info, io.BytesIO(b"x" * 5000))
    data = stream.getvalue()
    (tmp_path / "x.tgz").write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    unpack_tar(tmp_path / "x.tgz", tmp_path / "into")
    assert (tmp_path / "into/f").read_bytes() == b"x" * 5000


def test_unpacks_a_git_archive(tmp_path: Path) -> None:
    """Its global header, a comment, does no harm."""
    stream = io.BytesIO()
    headers = {"comment": "0" * 40}
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers
    ) as made:
        made.addfile(tarfile.TarInfo("f"))
    (tmp_path / "x.tar").write_bytes(stream.getvalue())
    assert unpack_tar(tmp_path / "x.tar", tmp_path / "into").entries == 1


class Unseekable(io.RawIOBase):
    """A file that can only be appended to, as an upload is."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._file.write(data)  # type: ignore[arg-type]

    def close(self) -> None:
        self._file.close()


def zip_entry(name: str, mode: int, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2020, 2, 3, 4, 5, 6))
    info.external_attr = mode << 16
    info.create_system = system
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def test_unpacks_a_zip_as_cf_makes_it(tmp_path: Path) -> None:
    """Sizes behind the bodies, folder entries, modes, relative links; times as UTC."""
    with (
        Unseekable(tmp_path / "x.zip") as target,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        made.writestr(zip_entry("bin/", stat.S_IFDIR | 0o750), b"")
        made.writestr(zip_entry("bin/start", stat.S_IFREG | 0o755), b"#!/bin/sh\n")
        made.writestr(zip_entry("run", stat.S_IFLNK | 0o777), b"bin/start")
        made.writestr(zip_entry("data", stat.S_IFREG | 0o640), b"d" * 2_000_000)
        made.writestr(zip_entry("none", stat.S_IFREG | 0o644), b"")
    with zipfile.ZipFile(tmp_path / "x.zip") as read:
        assert all(info.flag_bits & 8 for info in read.infolist() if info.file_size)
    unpacked = unpack_zip(tmp_path / "x.zip", tmp_path / "into")
    assert (unpacked.entries, unpacked.bytes) == (5, 2_000_010)
    seen = listing(tmp_path / "into")
    assert seen["bin"] == ("folder", 0o750, "")
    assert seen["bin/start"][:2] == ("file", 0o755)
    assert seen["data"] == ("file", 0o640, hashlib.sha1(b"d" * 2_000_000).hexdigest())
    assert seen["run"] == ("link", 0, "bin/start")
    assert (tmp_path / "into/data").stat().st_mtime == 1_580_702_706


def test_a_folder_that_only_its_name_calls_so(tmp_path: Path) -> None:
    """As the cf CLI writes them: the mode is that of a file."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr(zip_entry("sub/", stat.S_IFREG | 0o755), b"")
        made.writestr(zip_entry("sub/file", stat.S_IFREG | 0o644), b"x")
    unpack_zip(tmp_path / "x.zip", tmp_path / "into")
    assert listing(tmp_path / "into")["sub"] == ("folder", 0o755, "")


def test_files_without_a_mode_may_be_run_by_their_owner(tmp_path: Path) -> None:
    """Zips from Windows have no modes; 0744 is what Cloud Foundry gives."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr(zip_entry("from-windows", 0o600, system=0), b"x")
        made.writestr(zip_entry("without", stat.S_IFREG), b"x")
        made.writestr(zip_entry("implied/file", 0o100644), b"x")
    unpack_zip(tmp_path / "x.zip", tmp_path / "into")
    modes = {name: mode for name, (_, mode, _) in listing(tmp_path / "into").items()}
    assert modes == {
        "from-windows": 0o744,
        "without": 0o744,
        "implied": 0o755,
        "implied/file": 0o644,
    }


def test_unpacks_an_empty_zip(tmp_path: Path) -> None:
    """An archive of nothing is an archive."""
    zipfile.ZipFile(tmp_path / "x.zip", "w").close()
    assert unpack_zip(tmp_path / "x.zip", tmp_path / "into").entries == 0


def test_unpacks_a_zip64(tmp_path: Path) -> None:
    """Some tools write the large form of sizes for small files too."""
    with (
        zipfile.ZipFile(tmp_path / "x.zip", "w") as made,
        made.open(zip_entry("f", 0o644), "w", force_zip64=True) as entry,
    ):
        entry.write(b"small")
    unpack_zip(tmp_path / "x.zip", tmp_path / "into")
    assert (tmp_path / "into/f").read_bytes() == b"small"


# Limits and circumstances.


def test_limits_are_the_callers(app: Path, tmp_path: Path) -> None:
    """Each of the four has its own sentence."""
    packed = pack_tar_gz(app, tmp_path / "app.tgz").path
    for number, (limits, words) in enumerate(
        [
            (ArchiveLimits(entries=3), "3 entries"),
            (ArchiveLimits(bytes=1_000_000), "1,000,000 bytes unpacked"),
            (ArchiveLimits(depth=2), "2 folders deep"),
        ]
    ):
        with pytest.raises(ArchiveRefused, match=words):
            unpack_tar(packed, tmp_path / f"into-{number}", limits)
    assert DROPLET_LIMITS.entries == 200_000


def test_never_overwrites_what_was_there(app: Path, tmp_path: Path) -> None:
    """Unpacking into a folder in use adds to it, or is refused."""
    into = tmp_path / "into"
    into.mkdir()
    (into / "secret").write_text("mine")
    packed = pack_tar_gz(app, tmp_path / "app.tgz").path
    with pytest.raises(ArchiveRefused, match="'secret' exists"):
        unpack_tar(packed, into)
    assert (into / "secret").read_text() == "mine"


def test_never_goes_through_a_link_that_was_there(tmp_path: Path) -> None:
    """Neither when it writes, nor when it checks where its own links lead."""
    into, outside = tmp_path / "into", tmp_path / "outside"
    into.mkdir()
    outside.mkdir()
    (into / "d").symlink_to(outside)
    with zipfile.ZipFile(tmp_path / "1.zip", "w") as made:
        made.writestr("d/x", b"x")
    with pytest.raises(ArchiveRefused, match="'d' lies below a name that is no folder"):
        unpack_zip(tmp_path / "1.zip", into)
    with zipfile.ZipFile(tmp_path / "2.zip", "w") as made:
        made.writestr(zip_entry("l", stat.S_IFLNK | 0o777), b"d/x")
    with pytest.raises(ArchiveRefused, match="'l' is a link that leads outside"):
        unpack_zip(tmp_path / "2.zip", into)
    assert not list(outside.iterdir())


def test_the_umask_changes_nothing(app: Path, tmp_path: Path) -> None:
    """Modes are those of the archive, whatever the process masks."""
    packed = pack_tar_gz(app, tmp_path / "app.tgz").path
    before = os.umask(0o077)
    try:
        unpack_tar(packed, tmp_path / "into")
    finally:
        os.umask(before)
    assert listing(tmp_path / "into") == listing(app)


@pytest.mark.parametrize("unpack", [unpack_tar, unpack_zip])
async def test_a_cancelled_task_ends_the_work(
    tmp_path: Path, unpack: Callable[[Path, Path], object]
) -> None:
    """The thread notices within a few files, and does not go on to the end."""
    if unpack is unpack_zip:
        with zipfile.ZipFile(tmp_path / "x", "w") as zipped:
            for number in range(2000):
                zipped.writestr(f"f{number}", b"x")
    else:
        with tarfile.open(tmp_path / "x", "w") as tarred:
            for number in range(2000):
                tarred.addfile(tarfile.TarInfo(f"f{number}"))
    into = tmp_path / "into"
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.to_thread.run_sync(unpack, tmp_path / "x", into)
    assert scope.cancelled_caught
    assert not into.exists() or len(os.listdir(into)) < 200


def test_thousands_of_files_need_few_descriptors(tmp_path: Path) -> None:
    """Deep and wide trees are walked with as many open folders as they are deep."""
    app = tmp_path / "a"
    for number in range(300):
        folder = app / f"{number % 7}/{number}/{'x/' * (number % 9)}"
        folder.mkdir(parents=True)
        (folder / "f").write_text("x")
    packed = pack_tar_gz(app, tmp_path / "x.tgz").path
    before = len(os.listdir("/proc/self/fd"))
    unpack_tar(packed, tmp_path / "into")
    assert listing(tmp_path / "into") == listing(app)
    assert len(os.listdir("/proc/self/fd")) == before
