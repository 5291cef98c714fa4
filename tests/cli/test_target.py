"""Which appliance a command talks to."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.commands.errors import NotRunning
from appliance.commands.target import Wanted, find
from appliance.endpoints import Endpoints

RUNNING = Endpoints(
    api="http://127.0.0.1:1", apps="http://127.0.0.1:2", user="me", password="mine", pid=os.getpid()
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An appliance runs here."""
    RUNNING.write(tmp_path / "appliance" / "endpoints.json")
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def test_the_option_wins(environ: dict[str, str]) -> None:
    """Then the variable, then the file."""
    environ["APPLIANCE_API"] = "http://127.0.0.1:3"
    assert find(Wanted(api="http://127.0.0.1:4"), environ).api == "http://127.0.0.1:4"
    assert find(Wanted(), environ).api == "http://127.0.0.1:3"
    del environ["APPLIANCE_API"]
    target = find(Wanted(), environ)
    assert (target.api, target.user, target.password) == ("http://127.0.0.1:1", "me", "mine")
    assert target.endpoints == RUNNING


def test_a_login_is_not_given_to_another_appliance(environ: dict[str, str]) -> None:
    """The file's password belongs to the appliance that wrote it."""
    other = find(Wanted(api="http://127.0.0.1:4"), environ)
    assert (other.user, other.password, other.endpoints) == ("admin", "admin", None)
    same = find(Wanted(api="127.0.0.1:1/"), environ)
    assert (same.user, same.endpoints) == ("me", RUNNING)


def test_variables_say_who_and_where(environ: dict[str, str]) -> None:
    """The command line says org and space last."""
    environ |= {
        "APPLIANCE_USER": "you",
        "APPLIANCE_PASSWORD": "yours",
        "APPLIANCE_ORG": "o",
        "APPLIANCE_SPACE": "s",
    }
    target = find(Wanted(space="t"), environ)
    assert (target.user, target.password, target.place) == ("you", "yours", "org o / space t")


def test_a_state_folder_has_its_own_file(environ: dict[str, str], tmp_path: Path) -> None:
    """Two appliances with state can be told apart."""
    replace(RUNNING, api="http://127.0.0.1:9").write(tmp_path / "state" / "endpoints.json")
    environ["APPLIANCE_STATE"] = str(tmp_path / "state")
    assert find(Wanted(), environ).api == "http://127.0.0.1:9"


def test_without_any_it_says_how_to_get_one(tmp_path: Path) -> None:
    """Exit code 69, and the file that was looked for."""
    with pytest.raises(NotRunning, match=r"endpoints\.json") as caught:
        find(Wanted(), {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert "appliance up" in caught.value.hint
    assert caught.value.exit_code == 69
