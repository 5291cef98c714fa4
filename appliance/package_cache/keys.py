"""Names of packages, and the keys under which they are cached. Pure.

A key is ``NAME-VERSION@RUNTIME.tgz`` for a package of an index and ``SHA1@RUNTIME.tgz`` for a
file that somebody brought.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from appliance.package_cache.errors import BadName

_GEM_VERSION = r"\d+(?:\.[0-9A-Za-z]+)*"
_GEM_PLATFORM = (
    r"(?:aarch64|arm|dalvik|java|jruby|macruby|mingw|mswin|powerpc|ruby|sparc|universal|x64|x86)"
    r"[0-9A-Za-z_.-]*"
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
# With a platform first: `arm64-darwin-20` ends like a version.
_GEMS = (
    re.compile(rf"({_NAME}?)-({_GEM_VERSION})-({_GEM_PLATFORM})"),
    re.compile(rf"({_NAME})-({_GEM_VERSION})()"),
)
_PIP = re.compile(rf"({_NAME})-(\d[0-9A-Za-z.!+_]*)()")
_INBOX = re.compile(r"(?:[0-9A-Za-z]{1,32}-)?([0-9a-f]{40})((?:\.[0-9A-Za-z]{1,10}){1,2})")
_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+!-]*@[0-9A-Za-z][0-9A-Za-z._-]*\.tgz")


@dataclass(frozen=True, slots=True)
class PackageName:
    """A package of an index."""

    name: str
    version: str
    platform: str = ""  # of a gem with compiled parts, e.g. "x86_64-linux"

    @property
    def canonical(self) -> str:
        """``NAME-VERSION[-PLATFORM]``."""
        return "-".join(part for part in (self.name, self.version, self.platform) if part)


@dataclass(frozen=True, slots=True)
class InboxName:
    """A file that somebody put into the inbox, named by the digest of its content."""

    entry: str  # the name in the folder; may begin with a random prefix and a dash
    sha1: str
    suffix: str  # ".gem", ".whl", ".tar.gz"


def parse_remote(kind: str, name: str) -> PackageName:
    """The package that *name* means; folders in front of it are left out, as in the original.

    *kind* is ``gem`` (``thin-1.2.11.gem``, ``nokogiri-1.16.0-x86_64-linux.gem``; the suffix may
    be absent) or ``pip`` (``flask-3.1.0``).

    Raises:
      BadName: it has no version.
    """
    base = posixpath.basename(name)
    patterns = _GEMS if kind == "gem" else (_PIP,)
    for pattern in patterns:
        if match := pattern.fullmatch(base.removesuffix(".gem") if kind == "gem" else base):
            found = match[1] if kind == "gem" else normalized(match[1])
            return PackageName(found, match[2], match[3])
    raise BadName(name, "NAME-VERSION, e.g. " + ("rack-2.2.4.gem" if kind == "gem" else "six-1.17"))


def parse_local(name: str) -> InboxName:
    """The inbox entry that *name* means.

    Raises:
      BadName: it is not ``SHA1.SUFFIX`` or ``PREFIX-SHA1.SUFFIX``.
    """
    base = posixpath.basename(name)
    match = _INBOX.fullmatch(base)
    if match is None:
        raise BadName(name, "SHA1.SUFFIX, the SHA-1 of the file's content in 40 hex digits")
    return InboxName(base, match[1], match[2])


def remote_key(package: PackageName, runtime: str) -> str:
    """The key of *package*, built for *runtime*."""
    return f"{package.canonical}@{runtime}.tgz"


def local_key(sha1: str, runtime: str) -> str:
    """The key of the file with this digest, built for *runtime*."""
    return f"{sha1}@{runtime}.tgz"


def is_key(text: str) -> bool:
    """Whether *text* can be a key: never a path."""
    return _KEY.fullmatch(text) is not None


def is_local(key: str) -> bool:
    """Whether *key* is that of a file that somebody brought."""
    return re.match(r"[0-9a-f]{40}@", key) is not None


def normalized(name: str) -> str:
    """A Python package's name as indexes compare it. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
