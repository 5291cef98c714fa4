"""Builds from source reach their index by a proxy, and nobody else."""

from __future__ import annotations

import ast
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from appliance.package_cache.builder import Builder
from appliance.package_cache.folders import Folders
from appliance.package_cache.runtimes import find_runtimes
from appliance.package_cache.uv_tool import Uv, is_unreachable
from appliance.package_cache.way_out import WayOut, configured
from tests.package_cache.conftest import Cache, running_cache

pytestmark = pytest.mark.other_users


#: A package that builds itself, and writes down how far it got into the network meanwhile.
BACKEND = """\
import os, socket, urllib.error, urllib.request, zipfile
def told(url, **proxies):
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(*proxies.values()))
        return opener.open(url, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__
def build_wheel(folder, *rest):
    found = {"index": told(os.environ["UV_DEFAULT_INDEX"] + "/hello/"),
             "elsewhere": told("http://elsewhere.test/"),
             "around": told(os.environ["UV_DEFAULT_INDEX"] + "/hello/", proxies={}),
             "canary": told("http://127.0.0.1:%PORT%/")}
    if %FAIL%: raise SystemExit("no network, no package")
    name = "hello-1.0-py3-none-any.whl"
    info = "hello-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("hello.py", repr(found))
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: hello\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\n"
                       "Root-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
PYPROJECT = """\
[project]
name = "hello"
version = "1.0"
dynamic = ["dependencies"]
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@dataclass
class Index:
    """A web server on this machine with the simple pages of an index, and its files."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)  # by file name
    asked: list[str] = field(default_factory=list)  # paths

    def add_source(self, *, fail: bool = False) -> None:
        """hello-1.0.tar.gz, which has no wheel."""
        raw = io.BytesIO()
        text = BACKEND.replace("%PORT%", "1").replace("%FAIL%", str(fail))
        contents = {
            "backend.py": text,
            "pyproject.toml": PYPROJECT,
            "PKG-INFO": "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
        }
        with tarfile.open(fileobj=raw, mode="w:gz") as tar:
            for name, content in contents.items():
                member = tarfile.TarInfo(f"hello-1.0/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
        self.files["hello-1.0.tar.gz"] = raw.getvalue()

    async def answer(self, stream: trio.SocketStream) -> None:
        """Serve one request."""
        try:
            async with stream:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (more := await stream.receive_some(4096)):
                        return
                    head += more
                path = head.split()[1].decode()
                self.asked.append(path)
                name = path.strip("/").rpartition("/")[2]
                links = "".join(
                    f'<a href="/files/{file}">{file}</a>'
                    for file in self.files
                    if file.startswith(f"{name}-")
                )
                body = self.files.get(name) or links.encode()
                status = b"200 OK" if body else b"404 Not Found"
                kind = b"text/html" if body == links.encode() else b"application/octet-stream"
                await stream.send_all(
                    b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
                    b"Connection: close\r\n\r\n%b" % (status, kind, len(body), body)
                )
        except trio.BrokenResourceError:
            pass


@pytest.fixture
async def web_index(index: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Index]:
    """An index by HTTP on 127.0.0.1, which the settings name."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = Index(port=listeners[0].socket.getsockname()[1])
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{made.port}/simple")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, made.answer, listeners)
        yield made
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def isolated_cache(root: Path) -> AsyncIterator[Cache]:
    async with running_cache(root) as cache:
        if not (sandbox := cache.kit.spawner.sandbox).isolated:
            pytest.skip(f"no bubblewrap here: {sandbox.reason}")
        yield cache


def whats(cache: Cache, what: str) -> list[object]:
    return [event.data.get("host") for event in cache.events if event.what == what]


async def test_a_build_reaches_the_index_and_nobody_else(root: Path, web_index: Index) -> None:
    """Its own code asks for four places, and gets to one of them."""
    web_index.add_source()
    async with isolated_cache(root) as cache:
        answer = await cache.put("remote/pip/hello-1.0/python3")
        assert answer.status == 204, answer.body
        package = await cache.get("/packages/hello-1.0@python3.tgz")
        with tarfile.open(fileobj=io.BytesIO(package.body)) as tar:
            file = tar.extractfile("hello.py")
            assert file is not None
            found = ast.literal_eval(file.read().decode())
        assert found == {"index": 200, "elsewhere": 403, "around": "URLError", "canary": 403}
        assert f"127.0.0.1:{web_index.port}" in whats(cache, "egress.opened")
        assert whats(cache, "egress.refused") == ["elsewhere.test:80", "127.0.0.1:1"]
        assert not any(event.what == "egress.unavailable" for event in cache.events)


async def test_a_failed_build_says_whom_it_was_refused(root: Path, web_index: Index) -> None:
    """The person who pushed reads which host was missing."""
    web_index.add_source(fail=True)
    async with isolated_cache(root) as cache:
        answer = await cache.put("remote/pip/hello-1.0/python3")
        assert answer.status == 500
        said = answer.body.decode()
        assert "It asked for elsewhere.test:80, 127.0.0.1:1, which builds may not reach." in said


async def test_versions_of_sources_are_found_out_by_the_proxy(root: Path, web_index: Index) -> None:
    """The second way into the network: what a package requires is known after its build."""
    web_index.add_source()
    async with isolated_cache(root) as cache:
        answer = await cache.resolve("hello\n")
        assert answer.status == 200, answer.body
        assert answer.json()["pins"][0]["version"] == "1.0"
        assert "elsewhere.test:80" in whats(cache, "egress.refused")


async def test_behind_a_proxy_builds_have_the_machines_network(
    root: Path, web_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names cannot be looked up there, so none can be checked; that is said once."""
    web_index.add_source()
    async with isolated_cache(root) as cache:
        # Answers nothing on that port: what uv asks by it would fail.
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert (await cache.put("remote/pip/hello-1.0/python3")).status == 204
        said = [event.data["why"] for event in cache.events if event.what == "egress.unavailable"]
        assert said == ["the index is behind a proxy of this machine's own"]


async def test_the_index_of_uv_itself_is_learnt(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing names it: it is whom uv asks, and in the sandbox it is reached by the proxy."""
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    async with isolated_cache(root) as cache:
        runtime = find_runtimes({"python3": "python3"}).found["python3"]
        uv = Uv(cache.kit.spawner, root / "builds", offline=False)
        with trio.move_on_after(15):
            asked = ("pip", "compile", "-", "--only-binary", ":all:", "--no-cache")
            done = await uv.run(*asked, input=b"six\n", timeout=10)
        if done.timed_out or done.returncode:
            said = done.stderr.decode()
            assert done.timed_out or is_unreachable(said), said
            pytest.skip("no index can be reached from here")
        way_out = WayOut(kit=cache.kit, uv=uv, timeout=60)
        builder = Builder(kit=cache.kit, folders=Folders(root), uv=uv, way_out=way_out, timeout=60)
        done = await builder.compile_sources("six\n", runtime)
        assert done.returncode == 0, done.stderr.decode()
        assert b"six==" in done.stdout
        learnt = [event for event in cache.events if event.what == "egress.learnt"]
        assert len(learnt) == 1
        async with way_out.open(runtime):
            pass
        assert len([event for event in cache.events if event.what == "egress.learnt"]) == 1


def test_an_index_of_the_settings_is_named() -> None:
    """By any of the variables that uv reads."""
    env = {
        "UV_DEFAULT_INDEX": "https://index.test/simple",
        "UV_INDEX": "corp=https://corp.test:8443/x https://more.test/",
        "UV_FIND_LINKS": "/srv/wheels,https://links.test/all",
        "UV_CACHE_DIR": "https://not.test/",
    }
    assert {str(one) for one in configured(env)} == {
        "index.test:443",
        "corp.test:8443",
        "more.test:443",
        "links.test:443",
    }


async def test_without_isolation_builds_have_the_machines_network(
    root: Path, web_index: Index
) -> None:
    """There is no keeping a program from it then, and that is said, once."""
    web_index.add_source()
    async with running_cache(root, sandbox="off") as cache:
        assert (await cache.put("remote/pip/hello-1.0/python3")).status == 204
        said = [event.data["why"] for event in cache.events if event.what == "egress.unavailable"]
        assert said == ["switched off by --sandbox=off"]
