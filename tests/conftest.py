"""What all tests share."""

import os
import stat
import sys
from pathlib import Path

import hypothesis
import pytest

# Debian keeps nats-server and mkfs where the PATH of an ordinary user does not lead.
os.environ["PATH"] += os.pathsep + os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


# A machine that does other work as well is slow at times, which is no example that fails.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what starts this Python as somebody who cannot get at it."""
    closed = [
        str(folder)
        for folder in Path(sys.base_prefix).resolve().parents
        if not stat.S_IMODE(folder.stat().st_mode) & stat.S_IXOTH
    ]
    if not closed or os.geteuid():
        return
    reason = f"other users cannot run this Python: {closed[0]} is closed to them"
    for item in items:
        if item.get_closest_marker("other_users"):
            item.add_marker(pytest.mark.skip(reason=reason))
