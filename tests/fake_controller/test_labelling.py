"""What labels and annotations may be."""

from __future__ import annotations

import pytest

from fake_controller.labelling import annotation_faults, label_faults

LONG = "x" * 64


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("k", ""),
        ("a.b-c_d", ""),
        ("example.com/k", ""),
        ("x" * 63, ""),
        ("", "key cannot be empty string"),
        ("example.com/", "key cannot be empty string"),
        ("a/b/c", "key has more than one '/'"),
        ("bad_prefix/k", "prefix 'bad_prefix' must be in valid dns format"),
        ("/k", "prefix '' must be in valid dns format"),
        (f"{'a' * 254}/k", "prefix 'aaaaaaaa...' is greater than 253 characters"),
        ("cloudfoundry.org/k", "prefix 'cloudfoundry.org' is reserved"),
        ("bad key", "'bad key' contains invalid characters"),
        ("ключ", "'ключ' contains invalid characters"),
        ("-k", "'-k' starts or ends with invalid characters"),
        (LONG, "'xxxxxxxx...' is greater than 63 characters"),
    ],
)
def test_keys_follow_one_rule(key: str, fault: str) -> None:
    """Those of labels, also to be removed, and those of annotations that say something."""
    told = [f"Metadata label key error: {fault}"] if fault else []
    assert label_faults({key: "v"}) == label_faults({key: None}) == told
    told = [f"Metadata annotation key error: {fault}"] if fault else []
    assert annotation_faults({key: "v"}) == told
    assert annotation_faults({key: None}) == annotation_faults({key: ""}) == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", ""),
        ("v", ""),
        ("bad value", "'bad value' contains invalid characters"),
        ("v.", "'v.' starts or ends with invalid characters"),
        (LONG, "'xxxxxxxx...' is greater than 63 characters"),
    ],
)
def test_values_of_labels_are_short_words(value: str, fault: str) -> None:
    """Selectors must be able to name them."""
    told = [f"Metadata label value error: {fault}"] if fault else []
    assert label_faults({"k": value}) == told


def test_values_of_annotations_are_any_text() -> None:
    """Up to 5000 characters."""
    assert annotation_faults({"k": "any text, at all: /é\n" + "x" * 4000}) == []
    told = "Metadata annotation value error: 'xxxxxxxx...' is greater than 5000 characters"
    assert annotation_faults({"k": "x" * 5001}) == [told]


def test_all_faults_are_told() -> None:
    """One of each key, one of each value."""
    assert len(label_faults({"a b": "c d", "k": "e f"})) == 3
