"""Private temporary folders that are gone afterwards, even when the appliance is killed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from appliance.kernel.process.ledger import Ledger, journal
from appliance.kernel.process.sweep import erase

_guard = threading.Lock()
_users = 0
_ledger: Ledger | None = None


@asynccontextmanager
async def private_folder(name: str) -> AsyncIterator[Path]:
    """A new folder for this user alone, with *name* in its name; removed with all in it.

    After a SIGKILL the next start of an appliance removes it.
    """
    with _noted(name, tempfile.gettempdir()) as path:
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(erase, path)


@asynccontextmanager
async def room_folder(root: Path | None, name: str) -> AsyncIterator[Path]:
    """A room's own folder: *root*, or a private one that is gone afterwards."""
    if root is None:
        async with private_folder(name) as made:
            yield made
    else:
        await trio.Path(root).mkdir(parents=True, exist_ok=True, mode=0o700)
        yield root


@contextmanager
def noted_folder(name: str, parent: str = "") -> Iterator[Path]:
    """As `private_folder`, where there is no trio to wait with."""
    with _noted(name, parent or tempfile.gettempdir()) as path:
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            erase(path)


@contextmanager
def our_ledger() -> Iterator[Ledger]:
    """The ledger of this process, which is there while anybody needs it."""
    global _users, _ledger
    with _guard:
        if _ledger is None:
            _ledger = journal()
        _users += 1
        ledger = _ledger
    try:
        yield ledger
    finally:
        with _guard:
            _users -= 1
            if not _users:
                ledger.close()
                _ledger = None


@contextmanager
def _noted(name: str, parent: str) -> Iterator[Path]:
    """A path that nobody has yet, noted before it can be made."""
    path = Path(os.path.realpath(parent)) / f"appliance-{name}-{os.urandom(6).hex()}"
    with our_ledger() as ledger:
        note = ledger.folder(path)
        try:
            yield path
        finally:
            ledger.forget(note)
