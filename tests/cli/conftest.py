"""An API to talk to, and commands that run in this process as they would in a shell."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from tests.cli.fake_api import FakeApi


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which must be one JSON value."""
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A fresh API."""
    fake = FakeApi()
    yield fake
    fake.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command where no appliance is, and nothing of the machine's settings is seen."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in list(os.environ):
        if name.startswith("APPLIANCE_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)

    def call(*arguments: object) -> Done:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def cf(api: FakeApi, run: Run) -> Run:
    """Runs a command against *api*."""

    def call(*arguments: object) -> Done:
        return run("--api", api.url, *arguments)

    return call


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A small app."""
    folder = tmp_path / "hello"
    (folder / "static").mkdir(parents=True)
    (folder / "app.py").write_text("print('hello')\n")
    (folder / "static" / "page.html").write_text("<p>hello</p>\n")
    (folder / "start.sh").write_text("#!/bin/sh\n")
    (folder / "start.sh").chmod(0o755)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    return folder
