"""What clients asked for and this API does not have: `doctor` tells of it."""

from __future__ import annotations

import re
from collections import Counter

MOST = 100  # different requests that are remembered

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Unknown:
    """Requests for paths that do not exist, counted; guids in them count as one."""

    def __init__(self) -> None:
        self._times: Counter[tuple[str, str]] = Counter()

    def note(self, method: str, path: str) -> None:
        """Somebody asked for *path*."""
        key = method, _GUID.sub(":guid", path)[:200]
        if key in self._times or len(self._times) < MOST:
            self._times[key] += 1

    def listed(self) -> list[dict[str, str | int]]:
        """What was asked for, the most wanted first."""
        return [
            {"method": method, "path": path, "times": times}
            for (method, path), times in self._times.most_common()
        ]
