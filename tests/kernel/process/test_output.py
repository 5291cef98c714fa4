"""What is kept of a program's output, and how it is cut into lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.process.output import LONGEST_LINE, Lines, Tail


@given(st.lists(st.binary(max_size=50)), st.integers(2, 200))
def test_keeps_all_or_both_ends(chunks: list[bytes], limit: int) -> None:
    """Up to the limit nothing is lost; beyond it the ends stay and the gap is told."""
    tail = Tail(limit)
    for chunk in chunks:
        tail.add(chunk)
    said, kept = b"".join(chunks), tail.kept()
    if len(said) <= limit:
        assert kept == said
    else:
        head, last = limit - limit // 2, limit // 2
        gap = b"\n[%d bytes left out]\n" % (len(said) - limit)
        assert kept == said[:head] + gap + said[len(said) - last :]


@given(st.text(alphabet="ab\n", max_size=60), st.integers(1, 7))
def test_lines_do_not_depend_on_the_chunks(text: str, size: int) -> None:
    """A line is told once, however the pipe cut it, and the last one needs no end."""
    told: list[str] = []
    lines = Lines(told.append)
    for start in range(0, len(text), size):
        lines.add(text[start : start + size].encode())
    lines.end()
    expected = text.split("\n")
    assert told == (expected if expected[-1] else expected[:-1])


def test_a_line_without_end_is_told_in_pieces() -> None:
    """An endless line takes bounded memory, and none of it is lost."""
    told: list[str] = []
    lines = Lines(told.append)
    for _ in range(20):
        lines.add(b"x" * 10_000)
    lines.end()
    assert "".join(told) == "x" * 200_000
    assert max(map(len, told)) <= LONGEST_LINE


def test_bytes_that_are_no_text_are_replaced() -> None:
    """A program may print anything; carriage returns of Windows programs are dropped."""
    told: list[str] = []
    lines = Lines(told.append)
    lines.add(b"caf\xe9\r\nok\n")
    assert told == ["caf�", "ok"]
