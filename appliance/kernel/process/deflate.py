"""Which DEFLATE to use: Intel's igzip by python-isal, or the standard library's zlib."""

from __future__ import annotations

from functools import cache
from typing import Any

GZIP = 31  # zlib's window bits for a gzip stream
RAW = -15  # … and for bare DEFLATE, as in zip entries


@cache
def codec() -> Any:
    """`isal.isal_zlib` where it is installed, else `zlib`; both have one interface.

    Loaded late: most processes never touch an archive. The same input compresses to
    other bytes in each, so a packed droplet's digest belongs to the library that made it.
    """
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib
    return isal_zlib
