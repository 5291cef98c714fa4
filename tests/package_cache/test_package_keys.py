"""Names are taken apart as they were meant, and requirements stay within the index."""

from __future__ import annotations

import pytest

from appliance.kernel.errors import BadRequest
from appliance.package_cache.keys import (
    is_key,
    parse_local,
    parse_remote,
    remote_key,
)
from appliance.package_cache.requirements import checked_requirements, names
from appliance.package_cache.resolver import parse_pins
from appliance.package_cache.uv_tool import environment, explanation, is_unreachable

SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"


@pytest.mark.parametrize(
    ("kind", "given", "key"),
    [
        ("gem", "thin-1.2.11.gem", "thin-1.2.11@r.tgz"),
        ("gem", "thin-1.2.11", "thin-1.2.11@r.tgz"),
        ("gem", "../../etc/thin-1.2.11.gem", "thin-1.2.11@r.tgz"),
        ("gem", "rack-protection-2.2.4.gem", "rack-protection-2.2.4@r.tgz"),
        ("gem", "nokogiri-1.16.0-x86_64-linux.gem", "nokogiri-1.16.0-x86_64-linux@r.tgz"),
        ("gem", "ffi-1.16-arm64-darwin-20.gem", "ffi-1.16-arm64-darwin-20@r.tgz"),
        ("gem", "puma-6.0.0.pre1.gem", "puma-6.0.0.pre1@r.tgz"),
        ("pip", "Flask_Login-0.6.3", "flask-login-0.6.3@r.tgz"),
        ("pip", "torch-2.1.0+cpu", "torch-2.1.0+cpu@r.tgz"),
        ("pip", "zope.interface-6.0rc1", "zope-interface-6.0rc1@r.tgz"),
        ("pip", "python-dateutil-2.8.2", "python-dateutil-2.8.2@r.tgz"),
    ],
)
def test_a_remote_name_has_one_key(kind: str, given: str, key: str) -> None:
    """The runtime stands before the suffix, the platform of a gem stays in the name."""
    made = remote_key(parse_remote(kind, given), "r")
    assert made == key
    assert is_key(made)


@pytest.mark.parametrize(
    ("kind", "given"), [("gem", "thin"), ("gem", "-1.0"), ("pip", "flask"), ("pip", "fl;ask-1")]
)
def test_a_name_without_a_version_is_refused(kind: str, given: str) -> None:
    """The original split such names somewhere."""
    with pytest.raises(BadRequest, match="NAME-VERSION"):
        parse_remote(kind, given)


def test_a_gems_platform_is_no_part_of_its_version() -> None:
    """The version is what goes to the gem tool."""
    package = parse_remote("gem", "nokogiri-1.16.0-x86_64-linux.gem")
    assert (package.name, package.version, package.platform) == (
        "nokogiri",
        "1.16.0",
        "x86_64-linux",
    )


@pytest.mark.parametrize("entry", [f"{SHA1}.gem", f"a1b2-{SHA1}.whl", f"{SHA1}.tar.gz"])
def test_an_inbox_name_is_a_digest_perhaps_with_a_prefix(entry: str) -> None:
    """A random prefix keeps others from taking the name first."""
    assert parse_local(f"some/where/{entry}").entry == entry
    assert parse_local(entry).sha1 == SHA1


@pytest.mark.parametrize("entry", ["thin.gem", f"{SHA1}", f"{SHA1[:-1]}.gem", f"{SHA1}.gem.x.y"])
def test_other_inbox_names_are_refused(entry: str) -> None:
    """Nothing but a digest can be checked."""
    with pytest.raises(BadRequest):
        parse_local(entry)


@pytest.mark.parametrize(
    "text", ["../x@r.tgz", "x.tgz", "x@r.tar", "@r.tgz", "a/b@r.tgz", ".x@r.tgz"]
)
def test_a_path_is_no_key(text: str) -> None:
    """Keys become file names."""
    assert not is_key(text)


@pytest.mark.parametrize(
    "line",
    [
        "-r /etc/passwd",
        "--index-url http://elsewhere/simple",
        "-e .",
        "./here",
        "/etc/passwd",
        "pkg @ file:///etc/passwd",
        "pkg[x]@http://elsewhere/x.whl",
        "git+https://elsewhere/x",
        "http://elsewhere/x.whl",
        "two words",
        "dist/x.whl",
    ],
)
def test_only_packages_of_the_index_are_resolved(line: str) -> None:
    """The resolver has the operator's rights, an app must not direct it; the line is named."""
    with pytest.raises(BadRequest, match="line 2"):
        checked_requirements(f"flask\n{line}\n")


def test_usual_requirements_pass_without_their_comments() -> None:
    """Extras, versions, markers, hashes and continued lines."""
    text = (
        "# ours\nFlask[async] >= 2, <4  # web\n\nsix==1.17.0 \\\n    --hash=sha256:abc\n"
        'tomli; python_version < "3.11"\nrequests (>=2)\n'
    )
    checked = checked_requirements(text)
    assert checked == (
        'Flask[async] >= 2, <4\nsix==1.17.0\ntomli; python_version < "3.11"\nrequests (>=2)\n'
    )
    assert names(checked) == ["Flask", "six", "tomli", "requests"]


def test_pins_are_read_from_compiled_requirements() -> None:
    """Other lines are passed over."""
    pins = parse_pins("# made by\nJinja2==3.1.6\n    # via flask\nmarkupsafe==3.0.4\n")
    assert [(pin.name, pin.version) for pin in pins] == [
        ("jinja2", "3.1.6"),
        ("markupsafe", "3.0.4"),
    ]


def test_uv_gets_the_index_settings_and_no_secrets() -> None:
    """pip's settings are translated, unless uv's own are there."""
    ours = {
        "PATH": "/bin",
        "DATABASE_PASSWORD": "x",
        "PIP_INDEX_URL": "http://a/simple",
        "PIP_EXTRA_INDEX_URL": "http://b/simple",
        "UV_INDEX": "http://c/simple",
        "https_proxy": "http://p",
    }
    env = environment(ours)
    assert env["UV_DEFAULT_INDEX"] == "http://a/simple"
    assert env["UV_INDEX"] == "http://c/simple"
    assert env["https_proxy"] == "http://p"
    assert "DATABASE_PASSWORD" not in env


def test_a_dead_network_is_told_from_a_wrong_name() -> None:
    """Only the first is a reason to use older pins."""
    dead = "error: Failed to fetch: x\n  cause: error sending request for url (x)\n"
    wrong = "error: No solution found\n  cause: Because there is no version of x==99\n"
    assert is_unreachable(dead)
    assert not is_unreachable(wrong)
    assert explanation(wrong) == "Because there is no version of x==99."
