"""Run as a program: this machine, as if it were none with Linux; then a push in an appliance.

What only Linux has is taken away from the standard library before the appliance is imported.
Foreign packages are imported before: they have their own ways on each system.
"""

from __future__ import annotations

import builtins
import ctypes
import io
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

HIDDEN = {
    os: ("pidfd_open", "sendfile", "memfd_create", "posix_fallocate", "posix_fadvise", "O_PATH",
         "O_LARGEFILE", "sched_getaffinity", "sched_setaffinity", "unshare", "setns",
         "copy_file_range", "splice", "eventfd", "getrandom", "pipe2", "setresuid", "setresgid",
         "fdatasync", "POSIX_FADV_DONTNEED", "getxattr", "setxattr", "listxattr",
         "posix_spawn_file_actions"),
    signal: ("pidfd_send_signal", "sigwaitinfo", "sigtimedwait"),
    socket: ("TCP_CORK", "SO_PEERCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_USER_TIMEOUT",
             "TCP_DEFER_ACCEPT", "SO_BINDTODEVICE", "AF_NETLINK"),
    resource: ("prlimit", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE"),
}  # fmt: skip
#: Of the C library.
CALLS = ("prctl", "unshare", "setns", "mount", "umount2", "capset", "syscall", "sync_file_range",
         "renameat2", "close_range", "pidfd_open", "signalfd", "fallocate")  # fmt: skip
FOLDERS = ("/proc", "/sys")


def import_what_is_foreign() -> None:
    """Before anything is hidden."""
    import apsw
    import click
    import hypercorn.trio
    import msgspec
    import psutil
    import quart_trio
    import trio
    import yaml

    import httpx2  # isort: skip

    assert all((apsw, click, httpx2, hypercorn, msgspec, psutil, quart_trio, trio, yaml))
    with suppress(ImportError):
        import isal.igzip  # noqa: F401


def hide() -> None:
    """Take away what only Linux has."""
    for module, names in HIDDEN.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)

    # The standard library has looked already.
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]

    class Library(ctypes.CDLL):
        def __getattr__(self, name: str) -> Any:
            if name in CALLS:
                raise AttributeError(f"undefined symbol: {name}")
            return super().__getattr__(name)

    ctypes.CDLL = Library  # type: ignore[misc]
    for module, name in (
        (io, "open"), (os, "open"), (os, "listdir"), (os, "scandir"), (os, "stat"), (os, "lstat"),
        (os, "readlink"),
    ):  # fmt: skip
        setattr(module, name, without_folders(getattr(module, name)))
    builtins.open = io.open


def without_folders(real: Callable[..., Any]) -> Callable[..., Any]:
    """*real*, which finds nothing in the folders that only Linux has."""

    def seeing(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        if not isinstance(path, int) and os.fsdecode(path).startswith(FOLDERS):
            frame, foreign = sys._getframe(1), False
            while frame is not None and not foreign:
                foreign = "psutil" in frame.f_code.co_filename
                frame = frame.f_back  # type: ignore[assignment]
            if not foreign:
                raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))
        return real(path, *args, **kwargs)

    return seeing


async def main() -> None:
    """Push the stdlib app, ask it, look at its files, scale it, stop."""
    import tempfile
    from pathlib import Path

    import trio

    import appliance
    from appliance.boot import anywhere
    from appliance.config import Config
    from appliance.dea.messages import FindDroplet, FoundInstance
    from appliance.kernel.http.auth import basic_header
    from appliance.kernel.trace import Event
    from tests.person import Person, hello

    with tempfile.TemporaryDirectory() as folder:
        config = anywhere(Config(sandbox="off"))
        faults: list[Event] = []

        def sink(event: Event) -> None:
            if "failed" in event.what or event.what == "instance.crashed":
                faults.append(event)
                print(event, flush=True)

        async with appliance.running(config, sinks=[sink]) as running:
            person = Person(running.endpoints.api, running.kit.http)
            await person.login()
            app = await person.push("hello", Path(folder), hello())
            with trio.fail_after(5):
                while True:
                    answer = await running.kit.http.request(
                        "GET", running.endpoints.apps, headers={"Host": "hello.apps.localhost"}
                    )
                    if answer.status != 404:
                        break
            print(answer.status, answer.text.strip(), flush=True)
            question = FindDroplet(droplet=app)
            found = await running.kit.request(question, FoundInstance, timeout=5)
            login = {"Authorization": basic_header(*found.credentials)}
            for path, wanted in (("/app/", "app.py"), ("/app/app.py", hello()["app.py"])):
                url = f"{found.file_uri}{found.staged}{path}"
                shown = await running.kit.http.request("GET", url, headers=login)
                assert wanted in shown.text, (url, shown)
            assert running.health.ready(), running.health.report()
        assert not faults


if __name__ == "__main__":
    import trio

    import_what_is_foreign()
    hide()
    trio.run(main)
