"""Go apps: compiled while staging, so that the droplet needs no Go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from appliance.stager.plugins.plugin import Build, Launch, Rule

_MODULE = re.compile(r"(?m)^module\s+(\S+)")


class GoPlugin:
    """Runs ``go build`` and starts the binary."""

    name: ClassVar[str] = "go"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("go.mod", because="it has a go.mod"),
        Rule("*.go", because="it has Go files at the top"),
    )

    async def build(self, build: Build) -> Launch:
        """Compile the package at the app's top; the compiler's cache is kept for next time."""
        go = build.runtime("go", package="golang-go")
        name = self._binary(build)
        target = build.app / "bin" / name
        module = build.tree.has("go.mod")
        vendored = build.tree.has("vendor/modules.txt")
        sources = [source for source in build.tree.find("*.go") if not source.endswith("_test.go")]
        await build.run(
            go,
            "build",
            "-buildvcs=false",
            "-o",
            target,
            *(["."] if module else sources),
            env={
                "CGO_ENABLED": "1" if build.has("gcc") and precompiled(go) else "0",
                "GOCACHE": build.inside(build.cache / "go-build"),
                "GOFLAGS": "-mod=vendor" if vendored else "-mod=mod" if module else "",
                "GOPATH": build.inside(build.cache / "go"),
                "GOPROXY": "off",
                "GOSUMDB": "off",
                "GOTOOLCHAIN": "local",
                "GO111MODULE": "on" if module else "off",
            },
            hint="Builds have no network: run `go mod vendor` and push the vendor folder if a "
            "module is missing.",
        )
        return Launch(web=f"./bin/{name}")

    def _binary(self, build: Build) -> str:
        """The module's last part, as ``go build`` itself would name it."""
        module = _MODULE.search(build.tree.read("go.mod")) if build.tree.has("go.mod") else None
        last = module[1].strip('"').rstrip("/").rpartition("/")[2] if module else ""
        return last if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", last) else "app"


def precompiled(go: Path) -> bool:
    """Whether this Go has its standard library compiled already, as Go before 1.20 has.

    Those archives are for cgo, without ``-trimpath``, and save a first build 11 of 12 seconds;
    the binary then needs the machine's C library. Whoever wants a static one sets CGO_ENABLED=0.
    """
    return any((go.resolve().parent.parent / "pkg").glob("linux_*/net.a"))
