"""Multipart forms, whole and hostile, in pieces of every size."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.http.multipart import BadForm, Part, PartEnd, boundary_of, parts

BOUNDARY = b"b0undary"


def reader(data: bytes, sizes: Sequence[int]) -> Callable[[memoryview], int]:
    """A read_into over *data* that gives pieces of *sizes*, again and again."""
    source, step = io.BytesIO(data), 0

    def read_into(view: memoryview) -> int:
        nonlocal step
        step += 1
        piece = source.read(min(len(view), sizes[step % len(sizes)]))
        view[: len(piece)] = piece
        return len(piece)

    return read_into


def parse(
    data: bytes, sizes: Sequence[int] = (1 << 20,), size: int = 1 << 16
) -> list[tuple[str, str | None, bytes]]:
    """(name, filename, content) of every part."""
    found: list[tuple[str, str | None, bytes]] = []
    head: Part | None = None
    content = b""
    for event in parts(reader(data, sizes), BOUNDARY, size=size):
        if isinstance(event, Part):
            head, content = event, b""
        elif isinstance(event, PartEnd):
            assert head is not None
            found.append((head.name, head.filename, content))
        else:
            content += bytes(event)
    return found


def form(*given: tuple[str, bytes], boundary: bytes = BOUNDARY) -> bytes:
    """A body with parts of (disposition parameters, content)."""
    body = b""
    for parameters, content in given:
        body += b"--" + boundary + b"\r\nContent-Disposition: form-data; " + parameters.encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + b"--" + boundary + b"--\r\n"


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [b"\r\n", b"--", b"\r\n--b0undary", b"-", b"\r", b"x", b"--b0undary--"]
            ),
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(64, 300),
)
def test_content_is_kept_however_it_arrives(
    contents: list[list[bytes]], sizes: list[int], size: int
) -> None:
    """Bytes that look like the boundary, cut anywhere, in a buffer of any size."""
    plain = [b"".join(pieces) + b"." for pieces in contents]
    # A true delimiter inside the content would end the part: these only look like one.
    plain = [content.replace(b"\r\n--b0undary", b"\r\n--b0undarX") for content in plain]
    body = form(*((f'name="p{at}"', content) for at, content in enumerate(plain)))
    expected = [(f"p{at}", None, content) for at, content in enumerate(plain)]
    assert parse(body, sizes, size=size + 100) == expected


def test_longer_boundary_in_the_content_is_content() -> None:
    """A line that begins like the boundary but goes on is data."""
    content = b"a\r\n--b0undaryX\r\n--b0undary-\r\nb"
    assert parse(form(('name="a"', content))) == [("a", None, content)]


def test_padding_after_the_boundary() -> None:
    """White space may follow a boundary (RFC 2046, 5.1.1)."""
    body = form(('name="a"', b"1")).replace(b"--b0undary\r\n", b"--b0undary \t\r\n")
    assert parse(body, [1]) == [("a", None, b"1")]


def test_large_content_is_handed_out_in_pieces() -> None:
    """A part of many buffers arrives complete."""
    content = bytes(range(256)) * 4096
    assert parse(form(('name="a"; filename="f"', content)), size=4096) == [("a", "f", content)]


@pytest.mark.parametrize(
    ("parameters", "label"),
    [
        ('name="f"; filename="../../x"', "x"),
        ('name="f"; filename="..\\\\x.zip"', "x.zip"),
        ("name=\"f\"; filename*=UTF-8''..%2fx", "x"),
        ('name="f"; filename="a\x00b\x07"', "ab"),
        ('name="f"; filename="' + "n" * 400 + '"', "n" * 255),
        ('name="f"; filename=""', ""),
        ("name=f; filename=plain.tgz", "plain.tgz"),
        ('name="f"; filename="ü.zip"', "ü.zip"),
    ],
)
def test_file_name_is_only_a_label(parameters: str, label: str) -> None:
    """No folders and no control characters come through."""
    assert parse(form((parameters, b"1"))) == [("f", label, b"1")]


HOSTILE = {
    "no boundary at all": b"hello",
    "nothing": b"",
    "long preamble": b"x" * 10_000 + form(('name="a"', b"1")),
    "no final boundary": form(('name="a"', b"1"))[:-6],
    "cut inside a head": b"--b0undary\r\nContent-Disposition: form-",
    "no parts": b"--b0undary--\r\n",
    "seventeen parts": form(*((f'name="p{at}"', b"") for at in range(17))),
    "part head of 1 MB": form(('name="' + "a" * 1_000_000 + '"', b"1")),
    "part without headers": b"--b0undary\r\n\r\n1\r\n--b0undary--\r\n",
    "part without name": form(('filename="x"', b"1")),
    "not form-data": form(('name="a"', b"1")).replace(b"form-data", b"attachment"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_form_is_refused(name: str) -> None:
    """A broken form is an error with a sentence, however it arrives."""
    for sizes in ([1], [1 << 20], [7, 1000]):
        with pytest.raises(BadForm, match=r"\.$"):
            parse(HOSTILE[name], sizes)


def test_sixteen_parts_are_allowed() -> None:
    """The limit itself is within the limit."""
    assert len(parse(form(*((f'name="p{at}"', b"") for at in range(16))))) == 16


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c"', b"a b:c"),
        ("multipart/form-data; boundary=" + "a" * 70, b"a" * 70),
    ],
)
def test_boundary(content_type: str, boundary: bytes) -> None:
    """Quoted or not, up to 70 characters."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/zip",
        "multipart/mixed; boundary=abc",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="abc "',
        "multipart/form-data; boundary=ä",
        "multipart/form-data; boundary=" + "a" * 71,
    ],
)
def test_boundary_is_refused(content_type: str) -> None:
    """Absent, too long, or of other characters than RFC 2046 allows."""
    with pytest.raises(BadForm):
        boundary_of(content_type)
