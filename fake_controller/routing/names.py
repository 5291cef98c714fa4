"""What a route may be called. Pure."""

from __future__ import annotations

import re

from fake_controller.errors import unprocessable
from fake_controller.model import Domain

MOST_HOST = 63  # characters
MOST_PATH = 128
MOST_NAME = 253  # host and domain
_HOST = re.compile(r"([A-Za-z0-9_-]+|\*)?\Z")
_PATH = re.compile(r"(/[^\s\0]*)?\Z")


def check_parts(host: str, path: str, port: int | None) -> None:
    """Whether each part can be one at all; raises 422 with everything that is wrong."""
    errors = []
    if len(host) > MOST_HOST:
        errors.append(f"Host is too long (maximum is {MOST_HOST} characters)")
    if not _HOST.match(host):
        errors.append(
            'Host must be either "*" or contain only alphanumeric characters, "_", or "-"'
        )
    if len(path) > MOST_PATH:
        errors.append(f"Path is too long (maximum is {MOST_PATH} characters)")
    if path and not path.startswith("/"):
        errors.append("Path must begin with /")
    elif "?" in path:
        errors.append("Path cannot contain ?")
    elif path == "/":
        errors.append("Path cannot be exactly /")
    elif not _PATH.match(path):
        errors.append("Path is invalid.")
    if port is not None and not 0 <= port <= 65535:
        bound = "greater than or equal to 0" if port < 0 else "less than or equal to 65535"
        errors.append(f"Port must be {bound}")
    if errors:
        raise unprocessable(", ".join(errors))


def check_name(host: str, path: str, port: int | None, domain: Domain) -> None:
    """Whether the parts go together on *domain*; raises 422 with the first that does not."""
    if port:
        raise unprocessable("Routes with protocol 'http' do not support ports.")
    if domain.internal and host == "*":
        raise unprocessable("Wildcard hosts are not supported for internal domains.")
    if domain.internal and path:
        raise unprocessable("Paths are not supported for internal domains.")
    if not host and domain.organization_guid is None:
        raise unprocessable("Missing host. Routes in shared domains must have a host defined.")
    if len(host) + 1 + len(domain.name) > MOST_NAME:
        raise unprocessable(
            f"Host combined with domain name must be no more than {MOST_NAME} characters."
        )


def taken(host: str, path: str, domain: Domain) -> str:
    """The sentence about a name that is there; clients know its beginning."""
    parts = [f"host '{host}'"] * bool(host) + [f"path '{path}'"] * bool(path)
    told = f" with {' and '.join(parts)}" if parts else ""
    return f"Route already exists{told} for domain '{domain.name}'."
