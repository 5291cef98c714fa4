"""Names of the distribution API."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.registry.errors import OciError
from appliance.registry.names import Wanted, page, parse, repository, slug

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", Wanted("base")),
        ("_catalog", Wanted("catalog")),
        ("app/tags/list", Wanted("tags", "app")),
        ("app/manifests/latest", Wanted("manifests", "app", "latest")),
        ("dev/dev/app/manifests/latest", Wanted("manifests", "dev/dev/app", "latest")),
        (f"app/manifests/{DIGEST}", Wanted("manifests", "app", DIGEST)),
        (f"a/b/blobs/{DIGEST}", Wanted("blobs", "a/b", DIGEST)),
        (f"manifests/manifests/{DIGEST}", Wanted("manifests", "manifests", DIGEST)),
        (f"app/referrers/{DIGEST}", Wanted("referrers", "app", DIGEST)),
    ],
)
def test_parse(path: str, wanted: Wanted) -> None:
    """What each path of the API asks for."""
    assert parse(path) == wanted


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("App/manifests/latest", "NAME_INVALID"),
        ("a..b/manifests/latest", "NAME_INVALID"),
        ("/manifests/latest", "NAME_INVALID"),
        ("a" * 256 + "/manifests/latest", "NAME_INVALID"),
        ("app/manifests/.hidden", "MANIFEST_UNKNOWN"),
        ("app/manifests/" + "a" * 129, "MANIFEST_UNKNOWN"),
        ("app/manifests/latest\n", "MANIFEST_UNKNOWN"),
        ("app/manifests/sha256:baddigeststring", "DIGEST_INVALID"),
        ("app/manifests/sha512:" + "0a" * 64, "DIGEST_INVALID"),
        ("app/blobs/SHA256:" + "0a" * 32, "DIGEST_INVALID"),
        ("app/blobs/sha256:" + "0A" * 32, "DIGEST_INVALID"),
        ("app/blobs/latest", "DIGEST_INVALID"),
        ("app/other/latest", "NAME_UNKNOWN"),
        ("app", "NAME_UNKNOWN"),
    ],
)
def test_parse_refuses(path: str, code: str) -> None:
    """Each rule of the grammar has its code."""
    with pytest.raises(OciError) as told:
        parse(path)
    assert told.value.oci == code


@given(st.text(max_size=300))
def test_parse_never_fails_otherwise(path: str) -> None:
    """Any text is a request or a refusal."""
    with suppress(OciError):
        parse(path)


@given(st.text(max_size=60))
def test_slug_is_a_legal_name(name: str) -> None:
    """Whatever an app is called, its repository's name is legal, or there is none."""
    made = slug(name)
    assert made == "" or repository(made) == made
    assert slug(made) == made


def test_slug_keeps_legal_names() -> None:
    """A name that is one already is not touched; others are made into one."""
    for name in ("web", "my-app", "a_b", "a__b", "a.b", "a--b"):
        assert slug(name) == name
    assert slug("My App") == "my-app"


def test_pages() -> None:
    """Sorted, cut after n, and a link to what follows last."""
    names = ["c", "a", "b", "a"]
    assert page(names, {}, "/p") == (["a", "b", "c"], "")
    assert page(names, {"n": "2"}, "/p") == (["a", "b"], '</p?n=2&last=b>; rel="next"')
    assert page(names, {"n": "2", "last": "b"}, "/p") == (["c"], "")
    assert page(names, {"n": "3"}, "/p") == (["a", "b", "c"], "")
    assert page(names, {"n": "0"}, "/p") == ([], "")
    assert page(names, {"last": "z"}, "/p") == ([], "")
    assert page(names, {}, "/p", default=1) == (["a"], '</p?n=1&last=a>; rel="next"')


@pytest.mark.parametrize("count", ["-1", "x", "", "1.5", "99999999999", "٣"])
def test_page_refuses(count: str) -> None:
    """A count that is none is an error, not all."""
    with pytest.raises(OciError) as told:
        page([], {"n": count}, "/p")
    assert told.value.oci == "PAGINATION_NUMBER_INVALID"
