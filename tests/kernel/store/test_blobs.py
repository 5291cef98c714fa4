"""The blob store: whole files under their names, whatever happens in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.kernel.store.blobs import BlobStore

NAME = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"


def spooled(store: BlobStore, data: bytes = b"droplet") -> Path:
    path = store.spool / "incoming-1"
    path.write_bytes(data)
    return path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been fsynced, by name, in order."""
    seen: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    return seen


def test_syncs_the_file_before_and_its_folder_after_the_rename(
    tmp_path: Path, synced: list[str]
) -> None:
    """A file's bytes, then a new folder's name, then the file's name reach the disk."""
    store = BlobStore(tmp_path, fsync=True)
    assert synced == [tmp_path.name, tmp_path.parent.name]  # its own folders, first of all
    synced.clear()
    path = store.commit(spooled(store), NAME)
    assert path.read_bytes() == b"droplet"
    assert synced == ["incoming-1", "blobs", NAME[:2]]
    assert not list(store.spool.iterdir())


def test_does_not_wait_for_the_disk_in_memory_mode(tmp_path: Path, synced: list[str]) -> None:
    """A store that is gone at exit need not survive a power cut."""
    store = BlobStore(tmp_path, fsync=False)
    store.commit(spooled(store), NAME)
    store.delete(NAME)
    assert synced == []


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_is_whole_or_absent_after_each_step(tmp_path: Path, steps: int) -> None:
    """Killed after any step, the next start finds the whole blob or none, and no rest."""
    store = BlobStore(tmp_path, fsync=True)
    file = spooled(store)
    todo: list[Callable[[], None]] = [
        lambda: store.flush(file),
        lambda: store.place(file, NAME),
        lambda: store.settle(NAME),
    ]
    for step in todo[:steps]:
        step()

    again = BlobStore(tmp_path, fsync=True)
    assert again.sweep() == (1 if steps < 2 else 0)
    assert list(again.names()) == ([NAME] if steps >= 2 else [])
    assert again.exists(NAME) == (steps >= 2)
    if steps >= 2:
        assert again.path(NAME).read_bytes() == b"droplet"


def test_a_second_writer_of_the_same_blob_succeeds(tmp_path: Path) -> None:
    """Equal content under an equal name is no conflict, and a reader goes on reading."""
    store = BlobStore(tmp_path, fsync=True)
    path = store.commit(spooled(store), NAME)
    with path.open("rb") as reader:
        store.commit(spooled(store), NAME)
        assert reader.read() == b"droplet"
    assert list(store.names()) == [NAME]


def test_leaves_nothing_under_the_name_when_fsync_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fsync error is final: the bytes may be gone, so the name is never given."""
    store = BlobStore(tmp_path, fsync=True)
    file = spooled(store)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        store.commit(file, NAME)
    assert not store.exists(NAME)


def test_deletes_once(tmp_path: Path) -> None:
    """The second call says that there was nothing to delete."""
    store = BlobStore(tmp_path, fsync=True)
    store.commit(spooled(store), NAME)
    assert store.delete(NAME) is True
    assert store.delete(NAME) is False


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """A spooled file that somebody removed cannot be committed."""
    store = BlobStore(tmp_path, fsync=True)
    with pytest.raises(FileNotFoundError):
        store.commit(store.spool / "gone", NAME)


@pytest.mark.parametrize("name", ["", "a", "../x", "a/b", ".x", "ab\n", "a" * 129, "ab\0"])
def test_refuses_names_that_are_paths(tmp_path: Path, name: str) -> None:
    """A name never leads out of the store."""
    with pytest.raises(ValueError, match="cannot name a blob"):
        BlobStore(tmp_path, fsync=False).path(name)


def test_sets_damaged_blobs_aside_and_keeps_each(tmp_path: Path, synced: list[str]) -> None:
    """Twice the same name: both files stay in quarantine, and both moves reach the disk."""
    store = BlobStore(tmp_path, fsync=True)
    for data in (b"first", b"second"):
        store.commit(spooled(store, data), NAME)
        synced.clear()
        assert store.set_aside(NAME) is not None
        assert synced == ["quarantine", NAME[:2]]
    assert store.set_aside(NAME) is None
    assert not store.exists(NAME)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "quarantine").iterdir()}
    assert kept == {f"{NAME}.1": b"first", f"{NAME}.2": b"second"}


def test_passes_over_what_is_no_blob(tmp_path: Path) -> None:
    """A file that somebody has put into the folder does not keep the store from starting."""
    store = BlobStore(tmp_path, fsync=False)
    store.commit(spooled(store), NAME)
    (store.folder / "README").write_text("hello")
    (store.folder / NAME[:2] / ".hidden").write_text("hello")
    (store.folder / NAME[:2] / "elsewhere").write_text("hello")
    assert list(store.names()) == [NAME]
