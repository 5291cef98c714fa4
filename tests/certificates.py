"""Certificates for tests, made by openssl; tests are skipped where that is not installed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it has signed."""

    ca: Path
    server: Path  # for 127.0.0.1
    server_key: Path
    client: Path
    client_key: Path
    other_ca: Path  # has signed nothing


def make_certificates(folder: Path) -> Certificates:
    """New ones in *folder*."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*words: object) -> None:
        done = subprocess.run(
            ["openssl", *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl(
            "req", "-x509", *key, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
            "-subj", f"/CN={name}", "-days", 2, "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
    for name, names in (("server", "IP:127.0.0.1,DNS:nats.example"), ("client", "DNS:client")):
        openssl(
            "req", "-x509", *key, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
            "-subj", f"/CN={name}", "-days", 2, "-CA", folder / "ca.pem",
            "-CAkey", folder / "ca.key", "-addext", f"subjectAltName={names}",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "keyUsage=critical,digitalSignature",
        )  # fmt: skip
    return Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
        other_ca=folder / "other.pem",
    )
