"""From a droplet's file to an instance's folder that can be started; for a worker thread."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.dea.bindings import FOLDER, binding_files
from appliance.dea.errors import BindingsUnusable, DropletUnusable
from appliance.dea.launch import RUNTIME_TOKEN, Contents
from appliance.dea.messages import Start
from appliance.dea.runtimes import executable
from appliance.kernel.errors import ApplianceError

TEXT_LIMIT = 1024 * 1024  # bytes of a file that is read for how to start
STARTUP_MODE = 0o500
BINDING_MODE = 0o400

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(droplet: Path, folder: Path, order: Start) -> Contents:
    """Unpack *droplet* into *folder*, complete it, and read how it is to be started.

    Raises:
      DropletUnusable: it is no droplet, breaks a rule, or needs a runtime that is missing.
    """
    from appliance.kernel.process.archive import DROPLET_LIMITS, unpack_tar

    try:
        unpack_tar(droplet, folder, DROPLET_LIMITS)
        return prepare(folder, order)
    except (BindingsUnusable, DropletUnusable):
        raise
    except ApplianceError as error:
        raise DropletUnusable(f"Droplet could not be unpacked: {error}".removesuffix(".")) from None
    except OSError as error:
        raise DropletUnusable(
            f"Droplet could not be unpacked: {error.strerror or error}"
        ) from error


def prepare(folder: Path, order: Start) -> Contents:
    """Put the runtime into the startup script, make the folders that the environment names."""
    top = os.open(folder, _FOLDER)
    try:
        info = _staging_info(_read(top, "staging_info.yml"))
        startup = _read(top, "startup")
        if startup is not None:
            startup = _with_runtime(startup, order, info)
            _replace(top, "startup", startup)
        for name in ("tmp", "logs"):
            if not _is_folder(top, name):
                os.mkdir(name, 0o755, dir_fd=top)
        _write_bindings(top, binding_files(order))
        has_app = _is_folder(top, "app")
        procfile = _read_in(top, "app", "Procfile") if has_app else None
        return Contents(
            has_app=has_app, startup=startup, staging_info=info, procfile=procfile or ""
        )
    finally:
        os.close(top)


def _with_runtime(startup: str, order: Start, info: dict[str, Any]) -> str:
    if RUNTIME_TOKEN not in startup and order.runtime_info is None:
        return startup
    path = executable(order.runtime_info, order.runtime, info.get("detected_buildpack"))
    if path is None:
        name = (order.runtime_info or {}).get("name") or order.runtime or "that it needs"
        raise DropletUnusable(f"Droplet could not be started: the runtime {name} is not installed")
    return startup.replace(RUNTIME_TOKEN, path)


def _staging_info(text: str | None) -> dict[str, Any]:
    """What staging wrote down: JSON from us, YAML from others, nothing from those of 2012."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        import yaml

        try:
            found = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise DropletUnusable("Droplet has an unreadable staging_info.yml") from None
    return found if isinstance(found, dict) else {}


def _read(folder: int, name: str) -> str | None:
    """The text of a regular file, or None when there is none."""
    try:
        fd = os.open(name, _READ, dir_fd=folder)
    except OSError:
        return None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = file.read(TEXT_LIMIT + 1)
        if len(data) > TEXT_LIMIT:
            raise DropletUnusable(f"Droplet has a {name} of more than {TEXT_LIMIT} bytes")
        # Surrogates keep what is no UTF-8 as it is until it is written again.
        return data.decode("utf-8", "surrogateescape")


def _read_in(folder: int, name: str, file: str) -> str | None:
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        return _read(inner, file)
    finally:
        os.close(inner)


def _replace(folder: int, name: str, text: str) -> None:
    """Write *text* to a new file in place of *name*, runnable and closed to writers."""
    new = f".{name}.new"
    fd = os.open(new, _WRITE, STARTUP_MODE, dir_fd=folder)
    with open(fd, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        os.fchmod(fd, STARTUP_MODE)
    os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)


def _write_bindings(top: int, files: Mapping[str, str]) -> None:
    """Write *files* into a folder of their own, which the droplet may not bring."""
    if not files:
        return
    try:
        os.mkdir(FOLDER, 0o700, dir_fd=top)
    except FileExistsError:
        raise DropletUnusable(f"Droplet has an entry {FOLDER}, where bindings belong") from None
    bindings = os.open(FOLDER, _FOLDER, dir_fd=top)
    try:
        for folder in sorted({path.partition("/")[0] for path in files if "/" in path}):
            os.mkdir(folder, 0o700, dir_fd=bindings)
        for path, text in files.items():
            fd = os.open(path, _WRITE, BINDING_MODE, dir_fd=bindings)
            with open(fd, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(bindings)


def _is_folder(folder: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
