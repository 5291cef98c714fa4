"""What of a folder is pushed, and as which bytes."""

import hashlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.commands import files
from appliance.commands.errors import BadApp


def make(folder: Path, *paths: str) -> Path:
    """A folder with files that contain their own path; a "/" at the end makes a folder."""
    for path in paths:
        target = folder / path
        if path.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path)
    return folder


def pushed(folder: Path) -> list[str]:
    return [entry.path for entry in files.scan(folder)]


def test_entries_are_sorted_and_digested(tmp_path: Path) -> None:
    """Size and SHA-1 are those of the bytes; modes have three octal digits."""
    make(tmp_path, "b.txt", "a/c.txt")
    (tmp_path / "a/c.txt").chmod(0o640)
    first, second = files.scan(tmp_path)
    assert (first.path, second.path) == ("a/c.txt", "b.txt")
    assert first.resource() == {
        "path": "a/c.txt",
        "mode": "640",
        "checksum": {"value": hashlib.sha1(b"a/c.txt").hexdigest()},
        "size_in_bytes": 7,
    }


def test_what_cf_ignores_is_ignored(tmp_path: Path) -> None:
    """Version control anywhere, a manifest at the top only."""
    make(
        tmp_path,
        *("app.py", ".git/config", "sub/.git/config", ".gitignore", "sub/.DS_Store"),
        *("manifest.yml", "sub/manifest.yml", ".hg/x", ".svn/x", "_darcs/x", ".gitlab-ci.yml"),
    )
    assert pushed(tmp_path) == [".gitlab-ci.yml", "app.py", "sub/manifest.yml"]


def test_cfignore_has_gits_rules_and_may_take_back(tmp_path: Path) -> None:
    """Patterns, folders, anchors, and exceptions; cf's own rules hold as well."""
    make(
        tmp_path,
        *("app.py", "debug.log", "keep.log", "build/x", "src/build.py", ".git/config"),
        *("local/only", "src/local/only", ".env"),
    )
    (tmp_path / ".cfignore").write_text("*.log\n!keep.log\nbuild/\n/local\n# comment\n\n.env\n")
    assert pushed(tmp_path) == ["app.py", "keep.log", "src/build.py", "src/local/only"]


def test_links_stay_links_and_are_not_followed(tmp_path: Path) -> None:
    """A link to a folder outside does not bring its files."""
    outside = make(tmp_path / "outside", "secret")
    app = make(tmp_path / "app", "real")
    (app / "link").symlink_to("real")
    (app / "away").symlink_to(outside)
    entries = {entry.path: entry for entry in files.scan(app)}
    assert set(entries) == {"real", "link", "away"}
    assert stat.S_ISLNK(entries["link"].mode)
    assert entries["link"].sha1 == ""


def test_empty_files_and_folders_are_kept(tmp_path: Path) -> None:
    """They have nothing that the server could know already, so they are always sent."""
    make(tmp_path, "empty/", "full/file")
    (tmp_path / "none").touch()
    entries = {entry.path: entry for entry in files.scan(tmp_path)}
    assert set(entries) == {"empty", "full/file", "none"}
    assert [e.path for e in entries.values() if e.sha1] == ["full/file"]


def test_pipes_and_sockets_are_left(tmp_path: Path) -> None:
    """To open one would wait for ever."""
    make(tmp_path, "app.py")
    os.mkfifo(tmp_path / "pipe")
    assert pushed(tmp_path) == ["app.py"]


def test_nothing_to_push_is_an_error(tmp_path: Path) -> None:
    """All of it ignored is as empty as empty."""
    make(tmp_path, ".git/config")
    with pytest.raises(BadApp, match="nothing to push"):
        files.scan(tmp_path)
    with pytest.raises(BadApp, match="is not a folder"):
        files.scan(tmp_path / "absent")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_an_unreadable_file_is_named() -> None:
    """The person learns which one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        make(folder, "secret")
        (folder / "secret").chmod(0)
        with as_nobody(), pytest.raises(BadApp, match=r"secret cannot be read: Permission denied"):
            files.scan(folder)


def test_only_what_is_missing_goes_into_the_zip(tmp_path: Path) -> None:
    """By path: the same bytes under another name are known by the server under that name."""
    entries = files.scan(make(tmp_path, "a", "b", "c"))
    assert [entry.path for entry in files.missing(entries, {"b"})] == ["a", "c"]


def test_the_zip_keeps_modes_links_and_empty_folders(tmp_path: Path) -> None:
    """As Unix modes in the external attributes; setuid bits stay at home."""
    app = make(tmp_path / "app", "run.sh", "data", "empty/")
    (app / "run.sh").chmod(0o4755)
    (app / "link").symlink_to("data")
    target = tmp_path / "package.zip"
    files.write_zip(app, files.scan(app), target)
    with zipfile.ZipFile(target) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert archive.read("run.sh") == b"run.sh"
        assert archive.read("link") == b"data"
    assert modes["run.sh"] == stat.S_IFREG | 0o755
    assert stat.S_ISLNK(modes["link"])
    assert stat.S_ISDIR(modes["empty/"])


def test_the_same_files_make_the_same_zip(tmp_path: Path) -> None:
    """Times and the order on disk do not count."""
    first = make(tmp_path / "1", "a", "b", "c/d")
    second = make(tmp_path / "2", "c/d", "b", "a")
    os.utime(second / "a", (1, 1))
    for folder in (first, second):
        files.write_zip(folder, files.scan(folder), folder.with_suffix(".zip"))
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_what_stays_on_the_machine_is_not_compressed(tmp_path: Path) -> None:
    """It costs more than it saves; what travels is smaller."""
    app = make(tmp_path / "app")
    app.mkdir()
    (app / "zeros").write_bytes(bytes(100_000))
    entries = files.scan(app)
    files.write_zip(app, entries, tmp_path / "stored.zip", compress=False)
    files.write_zip(app, entries, tmp_path / "small.zip")
    assert (tmp_path / "stored.zip").stat().st_size > 100_000
    assert (tmp_path / "small.zip").stat().st_size < 1_000
    with zipfile.ZipFile(tmp_path / "stored.zip") as archive:
        assert archive.read("zeros") == bytes(100_000)


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    """Somebody builds while we push."""
    entries = files.scan(make(tmp_path / "app", "a", "b"))
    (tmp_path / "app" / "b").unlink()
    with pytest.raises(BadApp, match="b cannot be read"):
        files.write_zip(tmp_path / "app", entries, tmp_path / "package.zip")


def test_zips_are_known_by_what_they_are(tmp_path: Path) -> None:
    """Not by their name."""
    with zipfile.ZipFile(tmp_path / "app.war", "w") as archive:
        archive.writestr("x", "x")
    (tmp_path / "not.zip").write_text("PK")
    assert files.is_zip(tmp_path / "app.war")
    assert not files.is_zip(tmp_path / "not.zip")
    assert not files.is_zip(tmp_path)
