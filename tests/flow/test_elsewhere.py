"""A machine without what only Linux has: no pidfd, sendfile, memfd, prctl, /proc, …"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.other_users


def test_the_stdlib_app_is_pushed_where_linux_is_not() -> None:
    """Everything of Linux's own is looked for before it is used; see `tests.elsewhere`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.elsewhere"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "200 Hello from Python, instance 0", done.stdout
