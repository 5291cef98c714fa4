"""Bound services as files: their names, their texts, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from appliance.dea.bindings import FOLDER, MOST, binding_files, told_of_services
from appliance.dea.errors import BindingsUnusable, DropletUnusable
from appliance.dea.messages import Start
from appliance.dea.unpacking import prepare

NO_ROUTE: dict[str, Any] = {"uris": [], "port_wanted": False}
DB: dict[str, Any] = {
    "name": "db",
    "label": "mysql",
    "tags": [],
    "plan": None,
    "credentials": {"uri": "mysql://h", "port": 3306, "name": "of the credentials"},
    "binding_guid": "b",
    "volume_mounts": [{"mode": "rw"}],
}


def order(way: str, *services: dict[str, Any]) -> Start:
    """An order with *services*, told in that *way*."""
    return Start(
        droplet="d",
        index=0,
        name="app",
        version="1",
        sha1="",
        executableFile="",
        executableUri="",
        services=list(services),
        services_as=way,
    )


def test_a_folder_for_each_service_has_a_file_for_each_value() -> None:
    """Credentials first, which the rest may overwrite; what is empty is left out."""
    assert binding_files(order("folders", DB)) == {
        "db/uri": "mysql://h",
        "db/port": "3306",
        "db/name": "db",
        "db/label": "mysql",
        "db/binding_guid": "b",
        "db/volume_mounts": '[{"mode":"rw"}]',
        "db/type": "mysql",
        "db/provider": "mysql",
    }


def test_one_file_has_all_services() -> None:
    """As the variable would have them, by their label."""
    files = binding_files(order("file", {"name": "x", "label": "l", "secret_of_ours": 1}))

    assert files == {"vcap_services": '{"l":[{"name":"x","label":"l"}]}'}


def test_a_variable_tells_where_to_read() -> None:
    """One of the three, as the app has asked."""
    one = {"name": "x", "label": "l"}

    assert told_of_services(order("variable", one), "/h") == {
        "VCAP_SERVICES": '{"l":[{"name":"x","label":"l"}]}'
    }
    assert told_of_services(order("file", one), "/h") == {
        "VCAP_SERVICES_FILE_PATH": "/h/service-bindings/vcap_services"
    }
    assert told_of_services(order("folders", one), "/h") == {
        "SERVICE_BINDING_ROOT": "/h/service-bindings"
    }
    assert binding_files(order("variable", one)) == {}


@pytest.mark.parametrize(
    ("services", "why"),
    [
        ([{"name": "My DB"}], "Invalid binding name: 'My DB'"),
        ([{"name": ".."}], "Invalid binding name: '..'"),
        ([{"name": "a/b"}], "Invalid binding name: 'a/b'"),
        ([{"name": "a", "binding_name": "x"}, {"name": "x"}], "Duplicate binding name: x"),
        ([{"name": "a", "credentials": {"../b": "c"}}], "Invalid file name: ../b"),
        ([{"name": "a", "credentials": {"..": "c"}}], "Invalid file name: .."),
        ([{"name": "a", "credentials": {"b": "x" * MOST}}], "maximum allowed bytesize"),
    ],
)
def test_what_no_file_can_be_called_is_refused(services: list[dict[str, Any]], why: str) -> None:
    """Before anything is written; the instance says why it does not start."""
    with pytest.raises(BindingsUnusable, match=re.escape(why)):
        binding_files(order("folders", *services))


def test_files_are_written_for_their_reader_only(tmp_path: Path) -> None:
    """In a folder of the instance's own."""
    prepare(tmp_path, order("folders", DB))

    file = tmp_path / FOLDER / "db" / "uri"
    assert file.read_text() == "mysql://h"
    assert file.stat().st_mode & 0o777 == 0o400


def test_a_droplet_brings_no_bindings(tmp_path: Path) -> None:
    """A link in their place would lead out of the instance."""
    (tmp_path / FOLDER).symlink_to("/tmp")

    with pytest.raises(DropletUnusable, match="service-bindings"):
        prepare(tmp_path, order("file", DB))


async def test_a_program_reads_its_bindings(world: Any, app: Any) -> None:
    """Where the variable says, in the sandbox, too; VCAP_SERVICES is not there."""
    code = """\
import os, pathlib
root = pathlib.Path(os.environ["SERVICE_BINDING_ROOT"])
print((root / "db" / "uri").read_text(), os.environ.get("VCAP_SERVICES"))
"""
    world.start(world.order(app(code), services=[DB], services_as="folders", **NO_ROUTE))

    await world.exited()

    assert world.lines()[0] == "mysql://h None"
