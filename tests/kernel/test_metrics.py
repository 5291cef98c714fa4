"""Figures as Prometheus reads them."""

from __future__ import annotations

import pytest

from appliance.kernel.metrics import Sample, exposition, samples, snake


def test_samples_of_one_name_share_a_heading() -> None:
    """With a type, with help where there is any, and a line feed at the end."""
    text = exposition(
        [
            Sample("a_total", 1, {"x": "1"}, counter=True, help="How many."),
            Sample("b", 0.5),
            Sample("a_total", 2, {"x": "2"}, counter=True),
        ]
    )
    assert text == (
        "# HELP a_total How many.\n"
        "# TYPE a_total counter\n"
        'a_total{x="1"} 1\n'
        'a_total{x="2"} 2\n'
        "# TYPE b gauge\n"
        "b 0.5\n"
    )


def test_labels_and_help_are_escaped() -> None:
    """Quotes, backslashes and line feeds, each where the format wants it."""
    text = exposition([Sample("a", 1, {"x": 'q"b\\n\n'}, help='say "a"\\\nb')])
    assert text.splitlines() == [
        '# HELP a say "a"\\\\\\nb',
        "# TYPE a gauge",
        'a{x="q\\"b\\\\n\\n"} 1',
    ]


def test_numbers_at_any_depth_are_taken() -> None:
    """Truth values are 0 and 1; texts and lists are passed over."""
    found = samples("p", {"a": True, "deep": {"b-c": 2.5, "n": 3}, "t": "x", "l": [1]}, ("n",), {})
    assert [(one.name, one.value, one.counter) for one in found] == [
        ("p_a", 1.0, False),
        ("p_deep_b_c", 2.5, False),
        ("p_deep_n_total", 3.0, True),
    ]


@pytest.mark.parametrize(
    ("name", "snaked"),
    [("CloudController", "cloud_controller"), ("DEA", "dea"), ("LogStore", "log_store"),
     ("num_apps", "num_apps"), ("a.b-c", "a_b_c")],
)  # fmt: skip
def test_names_become_those_of_prometheus(name: str, snaked: str) -> None:
    """Lower case, with underscores."""
    assert snake(name) == snaked
