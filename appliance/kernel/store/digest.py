"""Digests as they are written on the wire: ``sha1:<hex>`` and ``sha256:<hex>``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from appliance.kernel.errors import ApplianceError, BadRequest

Algorithm = Literal["sha1", "sha256"]

_LENGTHS: dict[str, int] = {"sha1": 40, "sha256": 64}  # hex digits
_HEX = re.compile(r"[0-9a-f]+")


class BadDigest(BadRequest):
    """Something that should be a digest is none."""

    code = "bad-digest"


class DigestMismatch(ApplianceError):
    """The bytes are not those that their name promised; nothing was stored."""

    code, status, exit_code = "digest-mismatch", 422, 31
    hint = "Send the file again; if it fails again, the file differs from what was announced."

    def __init__(self, promised: Digest, received: Digest) -> None:
        super().__init__(f"The bytes have {received}, but {promised} was promised.")
        self.promised = promised
        self.received = received


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and lower-case hex digits, checked when it is made.

    SHA-1 is only ever a name that clients know a droplet by; SHA-256 says which bytes it is.
    """

    algorithm: Algorithm
    hex: str

    def __post_init__(self) -> None:
        length = _LENGTHS.get(self.algorithm)
        if length is None:
            raise BadDigest(f"{self.algorithm!r} is no digest algorithm; sha1 and sha256 are.")
        # fullmatch, since "$" would also match before a final newline.
        if len(self.hex) != length or not _HEX.fullmatch(self.hex):
            raise BadDigest(
                f"{self.hex[:80]!r} is no {self.algorithm}: {length} digits of 0-9a-f are."
            )

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def sha1(cls, hex: str) -> Digest:
        """The SHA-1 with these 40 hex digits."""
        return cls("sha1", hex)

    @classmethod
    def sha256(cls, hex: str) -> Digest:
        """The SHA-256 with these 64 hex digits."""
        return cls("sha256", hex)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """What ``str()`` of a digest gave.

        Raises:
          BadDigest: another algorithm, upper case, or a wrong number of digits.
        """
        algorithm, colon, hex = text.partition(":")
        if not colon:
            raise BadDigest(f"{text[:80]!r} is no digest: it should look like sha256:0f3a….")
        return cls(algorithm, hex)  # type: ignore[arg-type]  # checked when it is made

    def check(self, hex: str) -> None:
        """Raise `DigestMismatch` unless *hex*, by the same algorithm, is this digest."""
        if hex != self.hex:
            raise DigestMismatch(self, Digest(self.algorithm, hex))
