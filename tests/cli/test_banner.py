"""What `up` says."""

from dataclasses import replace

import click

from appliance.commands.banner import banner
from appliance.endpoints import Endpoints

SOME = Endpoints(
    api="http://127.0.0.1:7700",
    apps="http://127.0.0.1:7780",
    registry="http://127.0.0.1:7750",
    package_cache="http://127.0.0.1:7770",
    files="http://127.0.0.1:7790",
    sandbox="bubblewrap",
    version="1.2.3",
)


def test_it_tells_where_everything_is() -> None:
    """Aligned, with lines to copy."""
    assert banner(SOME).splitlines() == [
        click.style("appliance 1.2.3 is ready", bold=True),
        "",
        "  API       http://127.0.0.1:7700",
        "  Apps      http://NAME.apps.localhost:7780",
        "  Registry  http://127.0.0.1:7750",
        "  Files     http://127.0.0.1:7790",
        "  Packages  http://127.0.0.1:7770",
        "  Login     admin / admin",
        "  State     in memory, gone at exit (keep it with --state DIR)",
        "  Sandbox   bubblewrap",
        "",
        "  appliance push hello sample_apps/python-hello",
        "  cf api http://127.0.0.1:7700 && cf login -u admin -p admin -o dev -s dev",
    ]


def test_it_tells_where_the_state_is_kept() -> None:
    """The question that users of every emulator ask."""
    assert "  State     /var/lib/appliance\n" in banner(replace(SOME, state="/var/lib/appliance"))


def test_a_missing_sandbox_is_loud() -> None:
    """Red, with the reason."""
    text = banner(replace(SOME, sandbox="NOT ISOLATED: bubblewrap: not installed"))
    assert click.style("NOT ISOLATED: bubblewrap: not installed", fg="red", bold=True) in text


def test_notes_are_warnings() -> None:
    """Each on its own line."""
    assert "  ! It listens on 0.0.0.0" in click.unstyle(banner(SOME, ["It listens on 0.0.0.0"]))


def test_the_bus_is_shown_when_it_listens() -> None:
    """Nothing is shown that cannot be connected to."""
    assert "NATS" not in banner(SOME)
    assert "  NATS      nats://127.0.0.1:7742" in banner(
        replace(SOME, nats="nats://127.0.0.1:7742")
    )
