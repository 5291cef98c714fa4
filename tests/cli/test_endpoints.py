"""The endpoints file: private, whole or absent, and only removed by its owner."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import endpoints
from appliance.endpoints import Endpoints, EndpointsUnreadable

SOME = Endpoints(
    api="http://127.0.0.1:1", archivers=["http://127.0.0.1:2"], pid=os.getpid(), version="1"
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every field comes back."""
    path = tmp_path / "deep" / "endpoints.json"
    SOME.write(path)
    assert endpoints.read(path) == SOME


def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    """It holds a password; nothing else is left in the folder."""
    path = tmp_path / "appliance" / "endpoints.json"
    SOME.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["endpoints.json"]


def test_a_later_appliance_keeps_its_file(tmp_path: Path) -> None:
    """The first one that ends does not remove what the second one wrote."""
    path = tmp_path / "endpoints.json"
    replace(SOME, pid=SOME.pid + 1).write(path)
    SOME.remove(path)
    assert path.exists()
    SOME.write(path)
    SOME.remove(path)
    assert not path.exists()


def test_alive_follows_the_process() -> None:
    """This process lives; pid 0 is nobody."""
    assert SOME.alive()
    assert not replace(SOME, pid=0).alive()
    assert not replace(SOME, pid=2**22 + 1).alive()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"user": "x"}', "\x00"])
def test_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """A broken file is named, with what to do."""
    path = tmp_path / "endpoints.json"
    path.write_text(text)
    with pytest.raises(EndpointsUnreadable, match=r"endpoints\.json is not an endpoints file"):
        endpoints.read(path)


def test_keys_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    """An old command can still find a new appliance."""
    path = tmp_path / "endpoints.json"
    path.write_text('{"api": "http://127.0.0.1:1", "tls": "https://127.0.0.1:3"}')
    assert endpoints.read(path).api == "http://127.0.0.1:1"


def test_where_it_is() -> None:
    """The runtime folder, else the state folder of the user."""
    assert endpoints.default_path({"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/me"}) == Path(
        "/run/user/1/appliance/endpoints.json"
    )
    assert endpoints.default_path({"HOME": "/home/me"}) == Path(
        "/home/me/.local/state/appliance/endpoints.json"
    )
    assert endpoints.default_path({"XDG_STATE_HOME": "/s", "HOME": "/home/me"}) == Path(
        "/s/appliance/endpoints.json"
    )
    assert endpoints.default_path({}).name == "endpoints.json"
