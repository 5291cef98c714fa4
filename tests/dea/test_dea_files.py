"""The file viewer shows an instance's files as in 2012, and nothing else of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from appliance.dea.files import NotAccessible, listing, opened_beneath, pretty
from appliance.dea.messages import FindDroplet, FoundInstance

SETS_TRAPS = """\
import os, time
os.symlink("/etc/passwd", "out"); os.symlink("main.py", "in"); os.symlink("../startup", "up")
os.mkfifo("pipe")
os.symlink("..", "../logs/over"); os.makedirs("sub/deep")
print("trapped", flush=True)
time.sleep(600)
"""


@pytest.fixture
async def viewer(world: Any, app: Any) -> Any:
    """Gets a path below the folder of an instance that has set traps; status and text."""
    order = world.order(app(SETS_TRAPS), instance_guid="i1", uris=[], port_wanted=False)
    world.start(order)
    await world.line("trapped")
    found = await world.kit.request(FindDroplet(droplet="d1"), FoundInstance, timeout=2)
    base = found.file_uri.replace("//", "//{}:{}@".format(*found.credentials), 1) + found.staged

    async def get(path: str, base: str = base) -> tuple[int, str]:
        answer = await world.kit.http.request("GET", base + path)
        return answer.status, answer.text

    return get


async def test_shows_folders_and_files(viewer: Any) -> None:
    """The top has only what is the app's; columns are 35 and 10 wide."""
    status, text = await viewer("/")
    assert status == 200
    assert text == f"{'app/':<35}{'-':>10}\n{'logs/':<35}{'-':>10}\n"
    assert f"{'main.py':<35}{f'{len(SETS_TRAPS)}B':>10}\n" in (await viewer("/app"))[1]
    assert await viewer("/app/main.py") == (200, SETS_TRAPS)
    assert await viewer("/app/in") == (200, SETS_TRAPS)
    assert await viewer("/logs/stdout.log") == (200, "trapped\n")


@pytest.mark.parametrize("path", ["/startup", "/app/out", "/app/pipe", "/staging_info.yml"])
async def test_some_things_are_not_for_viewing(viewer: Any, path: str) -> None:
    """Scripts with settings in them, links that lead out, what is no file."""
    assert await viewer(path) == (403, "Not accessible\n")


@pytest.mark.parametrize("path", ["/app/none", "/app/main.py/x", "/logs/none/x"])
async def test_what_is_missing_is_not_found(viewer: Any, path: str) -> None:
    """Also below a file."""
    assert await viewer(path) == (404, "Entity not found.\n")


async def test_other_folders_are_not_found(viewer: Any, world: Any) -> None:
    """Nobody learns which instances are here, and nobody without the password anything."""
    assert (await viewer("", base=f"{world.files}/droplets/hello-0-i1/"))[0] == 401
    found = await world.kit.request(FindDroplet(droplet="d1"), FoundInstance, timeout=2)
    base = found.file_uri.replace("//", "//{}:{}@".format(*found.credentials), 1)
    assert await viewer("", base=base) == (200, "")
    assert (await viewer("staged/x", base=base))[0] == 404
    assert (await viewer("%2e%2e/apps", base=base))[0] in (400, 403, 404)


def test_links_are_followed_only_inside(tmp_path: Path) -> None:
    """Relative ones, through folders and back; none that leaves or runs in circles."""
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (tmp_path / "secret").write_text("no")
    (top / "a" / "file").write_text("yes")
    links = {
        "good": "a/b/../file", "chain": "good", "out": "../secret", "abs": "/etc/passwd",
        "round": "round", "a/b/far": "../../../secret", "self": "a/b/../../good",
    }  # fmt: skip
    for name, target in links.items():
        (top / name).symlink_to(target)
    for name in ("good", "chain", "self", "a/file"):
        with opened_beneath(top, name.split("/")) as found:
            assert os.readlink(f"/proc/self/fd/{found}") == str(top / "a" / "file")
    for name in ("out", "abs", "round", "a/b/far", "../secret"):
        with pytest.raises(NotAccessible), opened_beneath(top, name.split("/")):
            pass
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError), opened_beneath(top, ["a", "none", "x"]):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_sizes_are_short(tmp_path: Path) -> None:
    """As the original wrote them."""
    assert [pretty(size) for size in (0, 512, 1536, 3 << 20, 5 << 40)] == [
        "0B", "512B", "1.5K", "3.0M", "5.0T",
    ]  # fmt: skip
    (tmp_path / os.fsdecode(b"odd\xff")).touch()
    assert listing(tmp_path, at_top=False).startswith("odd\N{REPLACEMENT CHARACTER} ")
