"""Digests: what is one, and what is refused."""

from __future__ import annotations

import pytest

from appliance.kernel.store.digest import BadDigest, Digest, DigestMismatch

SHA1 = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"


def test_reads_what_it_writes() -> None:
    """The wire form and the value are two views of one thing."""
    assert Digest.parse(f"sha1:{SHA1}") == Digest.sha1(SHA1)
    assert str(Digest.sha256("0" * 64)) == "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        SHA1,
        f"sha1:{SHA1.upper()}",
        f"sha1:{SHA1[:-1]}",
        f"sha1:{SHA1}0",
        f"sha1:{SHA1}\n",
        f"sha1:{SHA1[:-1]}g",
        f"SHA1:{SHA1}",
        f"sha256:{SHA1}",
        "sha512:" + "0" * 128,
        "sha1:",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        f"sha1:{SHA1[:-1]}\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_refuses_what_is_no_digest(text: str) -> None:
    """Upper case, wrong lengths, a final newline and other algorithms are all refused."""
    with pytest.raises(BadDigest):
        Digest.parse(text)


def test_says_what_came_and_what_was_promised() -> None:
    """The sentence has both digests, so the sender can see which file it sent."""
    with pytest.raises(DigestMismatch, match=rf"sha1:{'0' * 40}, but sha1:{SHA1}"):
        Digest.sha1(SHA1).check("0" * 40)
