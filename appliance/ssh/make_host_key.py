"""Makes a host key and prints it: the private part, then a line with the public one.

Run as a program of its own, so that what it takes is gone afterwards: 8 MB for 32 bytes.
"""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def main() -> None:
    """Print both parts."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    sys.stdout.buffer.write(private + public + b"\n")


if __name__ == "__main__":
    main()
