"""Tokens: signed as the RFC says and as PyJWT does, and believed only when they are ours."""

from __future__ import annotations

import jwt
import pytest

from fake_controller.jws import MAX_TOKEN, NotSigned, sign, verified

KEY = "k" * 64
CLAIMS = {"sub": "me", "exp": 1.5, "scope": ["a", "ü"]}


def forged(algorithm: str | None, key: str = KEY) -> str:
    """A token by PyJWT."""
    return jwt.encode(CLAIMS, key if algorithm != "none" else "", algorithm=algorithm)


def test_what_is_signed_is_read_again() -> None:
    """Three parts without padding, with the same claims."""
    token = sign(CLAIMS, KEY)
    assert verified(token, KEY) == CLAIMS
    assert token.count(".") == 2
    assert "=" not in token


def test_pyjwt_and_this_agree() -> None:
    """Each takes what the other has made."""
    options = {"verify_exp": False}
    assert jwt.decode(sign(CLAIMS, KEY), KEY, algorithms=["HS256"], options=options) == CLAIMS
    assert verified(forged("HS256"), KEY) == CLAIMS


def test_claims_may_be_written_with_space_between() -> None:
    """Those of RFC 7515, appendix A.1, as they are printed there."""
    data = b'{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
    token = jwt.api_jws.encode(data, KEY, algorithm="HS256")
    assert verified(token, KEY)["http://example.com/is_root"] is True


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "...", "a.b.c", "ü.b.c", "x" * (MAX_TOKEN + 1),
        forged("HS256", "l" * 64),
        forged("HS512"),
        forged("none"),
        forged("HS256") + "=",
        forged("HS256")[:-1],
        forged("HS256").replace(".", "..", 1),
        "." + forged("HS256"),
        jwt.api_jws.encode(b"[1]", KEY, algorithm="HS256"),
        jwt.api_jws.encode(b"\xff", KEY, algorithm="HS256"),
        jwt.api_jws.encode(b"{", KEY, algorithm="HS256"),
    ],
)  # fmt: skip
def test_others_are_not_believed(token: str) -> None:
    """Another key, another algorithm, another spelling, something else altogether."""
    with pytest.raises(NotSigned):
        verified(token, KEY)


def test_another_spelling_of_the_signature_is_not_ours() -> None:
    """The last character holds two bits that say nothing."""
    token = sign(CLAIMS, KEY)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    with pytest.raises(NotSigned):
        verified(other, KEY)
