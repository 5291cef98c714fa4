"""Which rooms a process runs, and what they are told of the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config import ROOMS, ArchiverConfig, Config, ControllerConfig, RegistryConfig
from appliance.kernel.errors import ConfigError
from appliance.roles import Secrets, check_roles, controller_url, plan, router_url

SECRETS = Secrets(archiver="a-password", registry="r-password")
URLS = {
    "controller": "http://127.0.0.1:1",
    "router": "http://127.0.0.1:2",
    "registry": "http://127.0.0.1:3",
    "package_cache": "http://127.0.0.1:4",
    "archiver.0": "http://127.0.0.1:5",
    "archiver.1": "http://127.0.0.1:6",
    "dea.0": "http://127.0.0.1:7",
    "dea.1": "http://127.0.0.1:8",
    "ssh": "http://127.0.0.1:9",
}
BINDS = {name: f"fd://{number}" for number, name in enumerate(URLS)}


def planned(config: Config) -> dict[str, Any]:
    """Settings by the name of the room, as if its sockets were bound."""
    here = {name: url for name, url in URLS.items() if config.runs(name.partition(".")[0])}
    return {one.name: one.settings for one in plan(config, BINDS, here, SECRETS)}


def test_all_rooms_run_unless_some_are_named() -> None:
    """The door opens last but for the health manager, which reads behind it."""
    assert list(planned(Config())) == [
        "logs", "ssh", "archiver-0", "archiver-1", "package_cache", "stager", "dea", "router",
        "registry", "controller", "health_manager",
    ]  # fmt: skip
    assert list(planned(Config(only=("dea", "stager")))) == ["stager", "dea"]


def test_archivers_know_each_other_and_those_elsewhere() -> None:
    """Never themselves among those of this process; the login is the shared one."""
    elsewhere = "http://10.0.0.1:7760"
    archiver = ArchiverConfig(peers=(elsewhere,), password="given")
    rooms = planned(Config(archiver=archiver))
    first, second = (
        "http://archiver:a-password@127.0.0.1:5",
        "http://archiver:a-password@127.0.0.1:6",
    )

    assert rooms["archiver-0"].peers == (second, elsewhere)
    assert rooms["archiver-1"].peers == (first, elsewhere)
    assert rooms["archiver-0"].password == "a-password"


def test_the_controller_stores_here_first_then_elsewhere() -> None:
    """A login of an address itself counts more than the shared one."""
    controller = ControllerConfig(archivers=("http://10.0.0.1:7760/", "http://u:p@10.0.0.2:7760"))
    rooms = planned(Config(controller=controller, archivers=1))

    assert rooms["controller"].archivers == (
        "http://archiver:a-password@127.0.0.1:5",
        "http://archiver:a-password@10.0.0.1:7760",
        "http://u:p@10.0.0.2:7760",
    )


def test_archivers_may_come_by_themselves() -> None:
    """Then the controller needs no address, and all know the password."""
    archiver = ArchiverConfig(announced=True, user="keeper", password="given")
    config = Config(only=("controller",), archiver=archiver)
    check_roles(config)
    settings = planned(config)["controller"]

    assert settings.archivers == ()
    assert settings.archivers_announced
    assert (settings.archiver_user, settings.archiver_password) == ("keeper", "a-password")


def test_a_login_may_have_any_characters() -> None:
    """They are quoted in the address."""
    secrets = Secrets(archiver="p@ss:w/rd", registry="")
    rooms = {one.name: one for one in plan(Config(), BINDS, URLS, secrets)}

    assert rooms["archiver-0"].settings.peers == ("http://archiver:p%40ss%3Aw%2Frd@127.0.0.1:6",)


def test_rooms_find_a_controller_elsewhere() -> None:
    """The registry and the health manager read from it; one of their own counts more."""
    config = Config(
        only=("registry", "health_manager"),
        controller_url="http://10.0.0.1:7700/",
        registry=RegistryConfig(controller="http://10.0.0.2:7700"),
    )
    rooms = planned(config)

    assert rooms["health_manager"].controller == "http://10.0.0.1:7700"
    assert rooms["registry"].controller == "http://10.0.0.2:7700"
    assert controller_url(config, {}) == "http://10.0.0.1:7700"


def test_commands_find_a_router_elsewhere() -> None:
    """One here counts more."""
    config = Config(only=("controller",), router_url="http://10.0.0.1:7780")

    assert router_url(config, {}) == "http://10.0.0.1:7780"
    assert router_url(config, URLS) == "http://127.0.0.1:2"
    assert planned(config)["controller"].app_port == 7780


def test_each_room_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Of several stagers and DEAs, too, which empty theirs when they start."""
    rooms = planned(Config(state=tmp_path, stagers=2, deas=2))
    folders = [one.root for one in rooms.values() if getattr(one, "root", None)]

    assert len(folders) == len(set(folders)) == 10
    assert rooms["stager-1"].root == tmp_path / "stager-1"


def test_a_room_alone_keeps_the_folder_that_it_was_given(tmp_path: Path) -> None:
    """Also without a state folder."""
    config = Config(only=("dea",))
    rooms = planned(replace(config, dea=replace(config.dea, root=tmp_path / "var")))

    assert rooms["dea"].root == tmp_path / "var"


def test_the_defaults_are_sound() -> None:
    """As is each room that needs nothing from others but the bus."""
    check_roles(Config())
    for room in ("stager", "dea", "router", "logs", "package_cache"):
        check_roles(Config(only=(room,), bus="nats://127.0.0.1:4222"))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"only": ("health_manager",)}, "controller_url"),
        ({"only": ("registry",)}, "controller_url"),
        (
            {"only": ("registry",), "controller_url": "http://127.0.0.1:7700"},
            "registry.client_secret",
        ),
        ({"only": ("archiver",)}, "archiver.password"),
        ({"archiver": ArchiverConfig(peers=("http://10.0.0.1:7760",))}, "archiver.password"),
        (
            {"controller": ControllerConfig(archivers=("http://10.0.0.1:7760",))},
            "archiver.password",
        ),
        ({"only": ("controller",)}, "controller.archivers"),
        (
            {"only": ("controller",), "archiver": ArchiverConfig(announced=True)},
            "archiver.password",
        ),
        ({"controller_url": "127.0.0.1:7700"}, "controller_url"),
        ({"controller_url": "http://[::1"}, "controller_url"),
        ({"router_url": "ftp://127.0.0.1"}, "router_url"),
        ({"controller": ControllerConfig(archivers=("10.0.0.1",))}, "controller.archivers"),
        ({"archiver": ArchiverConfig(peers=("http://",), password="x")}, "archiver.peers"),
        ({"bus": "nats://a,b:x"}, "bus"),
    ],
)
def test_what_would_not_find_the_others_is_refused(settings: dict[str, Any], key: str) -> None:
    """Before anything is started, with the key that is missing or wrong."""
    with pytest.raises(ConfigError) as caught:
        check_roles(Config(**settings))
    assert caught.value.key == key


def test_a_password_in_a_wrong_address_is_not_repeated() -> None:
    """An error is shown, copied and logged."""
    with pytest.raises(ConfigError) as caught:
        check_roles(Config(controller_url="http://me:hush@host:port"))
    assert "hush" not in str(caught.value)


def test_an_unknown_room_is_refused() -> None:
    """The sentence names those that there are."""
    with pytest.raises(ConfigError, match="controller, stager") as caught:
        Config(only=("stagers",))
    assert caught.value.key == "only"
    assert all(room in str(caught.value) for room in ROOMS)
