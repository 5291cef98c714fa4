"""Settings: which source wins, what is refused, and where each value came from."""

from pathlib import Path

import pytest

from appliance import settings
from appliance.config import Config
from appliance.kernel.errors import ConfigError


def load(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: object):
    file = tmp_path / "appliance.toml"
    file.write_text(toml)
    return settings.load(file=file, environ=environ or {}, flags=flags)


def test_without_anything_they_are_the_defaults() -> None:
    """No file, no variable, no flag: exactly `Config()`, and no origins."""
    loaded = settings.load(environ={}, flags={})
    assert loaded.config == Config()
    assert loaded.origins == {}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each source is seen once the stronger one is taken away."""
    toml, environ = "stagers = 2", {"APPLIANCE_STAGERS": "3"}
    assert load(tmp_path, toml, environ, stagers=4).config.stagers == 4
    assert load(tmp_path, toml, environ).config.stagers == 3
    assert load(tmp_path, toml).config.stagers == 2
    assert load(tmp_path).config.stagers == 1


def test_origins_name_file_variable_and_flag(tmp_path: Path) -> None:
    """`config show --origin` can say where each value was set."""
    loaded = load(
        tmp_path, "[archiver]\nbatch = 8", {"APPLIANCE_DEA_HOST": "10.0.0.1"}, sandbox="off"
    )
    origins = {key: origin for key, _, origin in loaded.rows() if origin != "default"}
    assert origins == {
        "archiver.batch": str(tmp_path / "appliance.toml"),
        "dea.host": "env APPLIANCE_DEA_HOST",
        "sandbox": "flag --sandbox",
    }


def test_a_flag_that_was_not_given_counts_for_nothing(tmp_path: Path) -> None:
    """None is how click says that an option is absent."""
    loaded = load(tmp_path, "deas = 2", deas=None)
    assert loaded.config.deas == 2


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("APPLIANCE_DEA_MAX_MEMORY", "512", "max_memory", 512),
        ("APPLIANCE_DEA_HEARTBEAT", "2.5", "heartbeat", 2.5),
        ("APPLIANCE_DEA_HEARTBEAT", "2", "heartbeat", 2.0),
        ("APPLIANCE_DEA_ROOT", "/var/lib/dea", "root", Path("/var/lib/dea")),
        ("APPLIANCE_DEA_ROOT", "", "root", None),
    ],
)
def test_text_of_the_environment_becomes_what_the_setting_is(
    variable: str, text: str, key: str, value: object
) -> None:
    """Numbers, paths and absent paths are told apart by the type of the field."""
    config = settings.load(environ={variable: text}, flags={}).config
    assert getattr(config.dea, key) == value
    assert type(getattr(config.dea, key)) is type(value)


def test_lists_and_tables_and_switches() -> None:
    """What TOML writes with brackets, the environment writes with commas."""
    environ = {
        "APPLIANCE_STAGER_QUEUES": "staging, staging.big",
        "APPLIANCE_PACKAGE_CACHE_RUNTIMES": "python3=/opt/py/bin/python3,ruby=ruby",
        "APPLIANCE_PACKAGE_CACHE_OFFLINE": "yes",
    }
    config = settings.load(environ=environ, flags={}).config
    assert config.stager.queues == ("staging", "staging.big")
    assert config.package_cache.runtimes == {"python3": "/opt/py/bin/python3", "ruby": "ruby"}
    assert config.package_cache.offline is True


@pytest.mark.parametrize(
    ("toml", "sentence", "hint"),
    [
        ("stager = 2", "There is no setting stager in", "stagers"),
        ("[archiver]\nbatsh = 2", "There is no setting archiver.batsh in", "archiver.batch"),
        ("[archver]\nbatch = 2", "There is no setting archver in", "archiver"),
        ("heartbeat = 2", "There is no setting heartbeat in", "dea.heartbeat"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(
    tmp_path: Path, toml: str, sentence: str, hint: str
) -> None:
    """The person who mistyped reads what was meant."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml)
    assert sentence in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 78


def test_an_unknown_variable_is_refused_with_the_nearest() -> None:
    """A misspelt variable would else be silently without effect."""
    with pytest.raises(ConfigError) as caught:
        settings.load(environ={"APPLIANCE_STAGRES": "2"}, flags={})
    assert caught.value.hint == "Did you mean APPLIANCE_STAGERS?"


def test_variables_of_the_client_are_no_settings() -> None:
    """APPLIANCE_API tells commands whom to talk to, and `up` nothing."""
    environ = {"APPLIANCE_API": "http://127.0.0.1:1", "APPLIANCE_USER": "me", "PATH": "/bin"}
    assert settings.load(environ=environ, flags={}).config == Config()


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("stagers = 'two'", "stagers = 'two': must be a whole number"),
        ("stagers = true", "stagers = True: must be a whole number"),
        ("stagers = 0", "stagers = 0: must be at least 1"),
        ("sandbox = 'maybe'", "sandbox = 'maybe': must be one of auto, require, off"),
        ("[stager]\nqueues = 'a'\nmax_active_tasks = 0", "stager.max_active_tasks = 0: must be"),
        ("[package_cache]\noffline = 'perhaps'", "must be true or false"),
        ("[package_cache]\nruntimes = ['a']", "must be a table of texts"),
        ("[archiver]\npeers = [1]", "must be a list of texts"),
        ("stagers =", "is not TOML"),
    ],
)
def test_a_wrong_value_is_refused_by_key_and_rule(tmp_path: Path, toml: str, named: str) -> None:
    """The sentence names the key, the value and what it must be."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml)
    assert named in str(caught.value)


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    """Only the file of the current folder is optional."""
    with pytest.raises(ConfigError, match="there is no such file"):
        settings.load(file=tmp_path / "absent.toml", environ={}, flags={})


def test_the_file_of_the_current_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`appliance.toml` needs no option."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "appliance.toml").write_text("deas = 3")
    assert settings.load(environ={}, flags={}).config.deas == 3


def test_port_moves_the_whole_block() -> None:
    """`--port 7800` is a second foundation beside the first."""
    config = settings.load(environ={}, flags={"port": 7800}).config
    assert config.controller.bind == "127.0.0.1:7800"
    assert config.router.bind == "127.0.0.1:7880"
    assert config.registry.bind == "127.0.0.1:7850"
    assert config.archiver.bind == "127.0.0.1:7860"
    assert config.package_cache.bind == "127.0.0.1:7870"
    assert config.dea.bind == "127.0.0.1:7890"


def test_port_0_leaves_every_port_to_the_system() -> None:
    """Two tests never meet on a port."""
    config = settings.load(environ={}, flags={"port": 0}).config
    rooms = (config.controller, config.router, config.registry, config.archiver, config.dea)
    assert {room.bind for room in rooms} == {"127.0.0.1:0"}
    assert config.package_cache.bind == "127.0.0.1:0"


@pytest.mark.parametrize("port", [-1, 65437, 99999])
def test_a_block_must_fit_below_the_last_port(port: int) -> None:
    """The archivers and viewers of a block end 99 above its first port."""
    with pytest.raises(ConfigError, match="--port"):
        settings.load(environ={}, flags={"port": port})


def test_listen_moves_the_listeners_that_nobody_placed() -> None:
    """An address that was given for one room stays; ports stay in any case."""
    environ = {"APPLIANCE_ROUTER_BIND": "127.0.0.1:80"}
    loaded = settings.load(environ=environ, flags={"listen": "0.0.0.0"})
    assert loaded.config.controller.bind == "0.0.0.0:7700"
    assert loaded.config.router.bind == "127.0.0.1:80"
    ipv6 = settings.load(environ={}, flags={"listen": "::", "port": 7800})
    assert ipv6.config.registry.bind == "[::]:7850"
    assert ipv6.origins["registry.bind"] == "flag --port"
