"""A droplet becomes a layer: every edge case of image construction, and the same bytes again."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from appliance.registry.errors import NotAnImage
from appliance.registry.image import adopt, convert, start_command

Entry = tuple[str, dict[str, Any], bytes]


def file(name: str, content: bytes = b"x", **fields: Any) -> Entry:
    """A regular file."""
    return name, {"mode": 0o644, **fields}, content


def other(name: str, kind: bytes, **fields: Any) -> Entry:
    """Anything else."""
    return name, {"type": kind, "mode": 0o755, **fields}, b""


def droplet(
    folder: Path, *entries: Entry, packed: bool = True, form: int = tarfile.PAX_FORMAT
) -> Path:
    """A droplet with *entries*."""
    target = folder / "droplet.tgz"
    with tarfile.open(target, "w:gz" if packed else "w", format=form) as archive:
        for name, fields, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return target


def layer(tmp_path: Path, *entries: Entry, **options: Any) -> dict[str, tarfile.TarInfo]:
    """The entries of the layer that a droplet of *entries* becomes, by name."""
    made = convert(droplet(tmp_path, *entries, **options), tmp_path, fsync=False)
    with tarfile.open(made.file.path) as archive:
        members = archive.getmembers()
    assert len({member.name for member in members}) == len(members)
    return {member.name: member for member in members}


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    """The layer's digest is of the stored file, the diff id of the plain tar."""
    made = convert(droplet(tmp_path, file("app/x", bytes(3_000_000))), tmp_path, fsync=True)
    stored = made.file.path.read_bytes()
    assert made.layer.digest == "sha256:" + hashlib.sha256(stored).hexdigest()
    assert made.layer.size == len(stored)
    assert made.layer.diff_id == "sha256:" + hashlib.sha256(gzip.decompress(stored)).hexdigest()


def test_same_droplet_same_layer(tmp_path: Path) -> None:
    """Twice the same, and nothing of the clock or the file's name in the gzip header."""
    source = droplet(tmp_path, file("app/x"), file("app/y"))
    one, two = (convert(source, tmp_path, fsync=False) for _ in range(2))
    assert one.layer == two.layer
    assert one.file.path.read_bytes()[3:8] == bytes(5)  # flags and time


@pytest.mark.parametrize("prefix", ["", "./", "/", ".//"])
def test_stands_below_home_vcap(tmp_path: Path, prefix: str) -> None:
    """However the archive spells its names, the layer has plain relative ones."""
    found = layer(tmp_path, other(prefix + "app", tarfile.DIRTYPE), file(prefix + "app/x"))
    assert list(found) == ["home", "home/vcap", "home/vcap/app", "home/vcap/app/x"]


def test_owner_mode_and_time(tmp_path: Path) -> None:
    """Owned by 2000:2000 without names, permission bits kept and no others, whole seconds."""
    found = layer(
        tmp_path,
        file("app/run", mode=0o4751, uid=17, gid=18, uname="me", gname="us", mtime=12.75),
    )
    run = found["home/vcap/app/run"]
    assert (run.uid, run.gid, run.uname, run.gname) == (2000, 2000, "", "")
    assert (run.mode, run.mtime) == (0o751, 12)
    assert run.pax_headers == {}


def test_folders_that_the_archive_lacks_are_added(tmp_path: Path) -> None:
    """A client that makes them itself makes them unreadable."""
    found = layer(tmp_path, file("app/lib/deep/x"))
    for name in (
        "home",
        "home/vcap",
        "home/vcap/app",
        "home/vcap/app/lib",
        "home/vcap/app/lib/deep",
    ):
        assert found[name].isdir()
        assert found[name].mode == 0o755
    assert found["home"].uid == 0
    assert found["home/vcap"].uid == 2000


def test_top_entry_of_the_archive_does_not_close_the_home(tmp_path: Path) -> None:
    """A ``./`` of mode 0700 and root would make home/vcap unreadable for its user."""
    found = layer(tmp_path, other("./", tarfile.DIRTYPE, mode=0o700), file("./app/x"))
    assert (found["home/vcap"].mode, found["home/vcap"].uid) == (0o755, 2000)


def test_folder_after_its_content_keeps_its_mode(tmp_path: Path) -> None:
    """The order is odd, but legal."""
    found = layer(tmp_path, file("app/x"), other("app", tarfile.DIRTYPE, mode=0o711))
    assert found["home/vcap/app"].mode == 0o711


def test_links(tmp_path: Path) -> None:
    """Targets of hard links are re-anchored, those of symbolic links are not."""
    found = layer(
        tmp_path,
        file("app/x"),
        other("app/hard", tarfile.LNKTYPE, linkname="./app/x"),
        other("app/soft", tarfile.SYMTYPE, linkname="../deps/x"),
        other("app/absolute", tarfile.SYMTYPE, linkname="/etc/passwd"),
    )
    assert found["home/vcap/app/hard"].linkname == "home/vcap/app/x"
    assert found["home/vcap/app/hard"].islnk()
    assert found["home/vcap/app/soft"].linkname == "../deps/x"
    assert found["home/vcap/app/absolute"].linkname == "/etc/passwd"


def test_last_of_two_entries_counts(tmp_path: Path) -> None:
    """podman and docker refuse a layer with one path twice."""
    source = droplet(tmp_path, file("app/x", b"old"), file("app/y"), file("./app/x", b"new"))
    made = convert(source, tmp_path, fsync=False)
    with tarfile.open(made.file.path) as archive:
        names = archive.getnames()
        kept = archive.extractfile("home/vcap/app/x")
        assert kept is not None
        assert kept.read() == b"new"
    assert names.count("home/vcap/app/x") == 1


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("packed", [True, False])
def test_long_and_foreign_names(tmp_path: Path, form: int, packed: bool) -> None:
    """In every format that droplets come in, packed or not."""
    names = ["app/" + "d" * 90 + "/" + "n" * 120, "app/ünïcode", "app/" + "x" * 99]
    found = layer(tmp_path, *(file(name) for name in names), form=form, packed=packed)
    assert {f"home/vcap/{name}" for name in names} <= set(found)


def test_inner_dots_are_resolved(tmp_path: Path) -> None:
    """What stays inside is put where it belongs."""
    assert "home/vcap/app/x" in layer(tmp_path, file("app/lib/../x"))


REFUSED: dict[str, list[Entry]] = {
    "leads outside": [file("app/../../../etc/evil")],
    "deletes a file of a lower layer": [file("app/.wh.note")],
    "hides a folder of a lower layer": [file(".wh..wh..opq")],
    "whiteout of nothing": [file("app/.wh.")],
    "character device": [other("app/null", tarfile.CHRTYPE)],
    "fifo": [other("app/fifo", tarfile.FIFOTYPE)],
    "hard link outside": [other("app/x", tarfile.LNKTYPE, linkname="../../etc/passwd")],
    "hard link to nothing": [other("app/x", tarfile.LNKTYPE, linkname="app/y")],
    "hard link to what comes later": [
        other("app/x", tarfile.LNKTYPE, linkname="app/y"),
        file("app/y"),
    ],
    "file inside a file": [file("app/x"), file("app/x/y")],
    "file inside a link": [
        other("app/x", tarfile.SYMTYPE, linkname="/etc"),
        file("app/x/y/z"),
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_no_layer_can_hold(tmp_path: Path, name: str) -> None:
    """The sentence names the entry; nothing is left behind."""
    source = droplet(tmp_path, *REFUSED[name])
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(NotAnImage, match=r"entry|app/|home/"):
        convert(source, out, fsync=False)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8bno gzip"])
def test_refuses_what_is_no_tar(tmp_path: Path, content: bytes) -> None:
    """A sentence, not a traceback."""
    source = tmp_path / "droplet.tgz"
    source.write_bytes(content)
    with pytest.raises(NotAnImage, match="no readable tar"):
        convert(source, tmp_path, fsync=False)


def test_refuses_a_droplet_that_is_cut_off(tmp_path: Path) -> None:
    """Half a droplet is none."""
    source = droplet(tmp_path, file("app/x", bytes(100_000)), packed=False)
    source.write_bytes(source.read_bytes()[:50_000])
    with pytest.raises(NotAnImage):
        convert(source, tmp_path, fsync=False)


def test_start_command_of_a_droplet(tmp_path: Path) -> None:
    """It is read on the way."""
    info = b'{"detected_buildpack": "python", "start_command": "python3 app.py"}'
    source = droplet(tmp_path, file("./staging_info.yml", info))
    assert convert(source, tmp_path, fsync=False).command == "python3 app.py"


@pytest.mark.parametrize(
    ("info", "procfile", "command"),
    [
        (b'{"start_command": "a"}', b"web: b", "a"),
        (b'{"start_command": "", "process_types": {"web": "c"}}', b"", "c"),
        (b"detected_buildpack: x\nstart_command: d --port $PORT\n", b"", "d --port $PORT"),
        (b"", b"worker: w\nweb: b -p $PORT\n", "b -p $PORT"),
        (b"- not\n- a mapping", b"", ""),
        (b"{broken: [", b"\tno: yaml", ""),
        (b"", b"", ""),
    ],
)
def test_start_command(info: bytes, procfile: bytes, command: str) -> None:
    """staging_info.yml as JSON or YAML, then the Procfile, else none."""
    assert start_command(info, procfile) == command


@pytest.mark.parametrize("packed", [True, False])
def test_adopts_a_root_file_system(tmp_path: Path, packed: bool) -> None:
    """Its bytes are not touched, and the media type says what they are."""
    source = droplet(tmp_path, file("bin/sh"), packed=packed)
    spooled, made = adopt(source, tmp_path, fsync=False)
    stored = spooled.path.read_bytes()
    assert stored == source.read_bytes()
    assert made.media_type.endswith("+gzip") is packed
    plain = gzip.decompress(stored) if packed else stored
    assert made.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
