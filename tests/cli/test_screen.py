"""Tables, sizes and colours."""

import click
import pytest

from appliance.commands.screen import Screen, colored, size, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Three spaces between them, none at the end."""
    assert table([("name", "state"), ("a-long-name", ""), ("b", "x")]) == [
        "name          state",
        "a-long-name",
        "b             x",
    ]


def test_colours_take_no_room() -> None:
    """A coloured cell is as wide as its text."""
    red = click.style("fail", fg="red")
    assert table([(red, "a"), ("ok", "b")]) == [f"{red}   a", "ok     b"]


def test_rows_may_be_of_different_length() -> None:
    """Missing cells are empty."""
    assert table([("a",), ("b", "c")]) == ["a", "b   c"]
    assert table([]) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (1023, "1023B"), (1536, "1.5K"), (512 * 1024**2, "512M"), (5 * 1024**4, "5120G")],
)
def test_sizes_are_short(count: int, text: str) -> None:
    """As cf shows them."""
    assert size(count) == text


def test_json_mode_prints_the_result_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a command says on the way."""
    screen = Screen(json=True)
    screen.say("hello")
    screen.doing("Doing {x}...", x="y")
    screen.ok()
    screen.table(("a",), [("b",)])
    screen.warn("careful")
    screen.result({"a": 1})
    out, err = capsys.readouterr()
    assert out == '{\n  "a": 1\n}\n'
    assert err == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),  # a pipe
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        ({"CLICOLOR": "1"}, False),
    ],
)
def test_colours_follow_the_usual_variables(
    environ: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR first; empty means not set."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert colored() is expected
