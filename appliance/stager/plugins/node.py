"""Node apps: package.json's start script, or the usual main file."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from appliance.stager.errors import BuildFailed, PackagesUnavailable, StartCommandMissing
from appliance.stager.plugins.plugin import Build, Launch, Rule
from appliance.stager.startup import RUNTIME_TOKEN

MAIN_FILES = ("server.js", "app.js", "index.js", "main.js", "application.js")


class NodePlugin:
    """Starts ``scripts.start``, else the main file; packages come with the app."""

    name: ClassVar[str] = "node"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("package.json", because="it has a package.json"),
        Rule("*.js", because="it has JavaScript files at the top", unless=("index.html",)),
    )

    async def build(self, build: Build) -> Launch:
        """Check that Node and the packages are there, and find the start command."""
        build.runtime("node", package="nodejs")
        package = self._package(build)
        self._check_packages(build, package)
        start = str((package.get("scripts") or {}).get("start") or "")
        if not start and (main := self._main(build, package)):
            start = f"node {main}"
        if not start and not build.has_command:
            raise StartCommandMissing("Node.js", "scripts.start to package.json, or a server.js")
        startup = f"{RUNTIME_TOKEN} {start[5:]} $@" if start.startswith("node ") else ""
        env = {
            "NODE_ENV": "${NODE_ENV:-production}",
            "PATH": "$HOME/node_modules/.bin:$PATH",
        }
        return Launch(web=start, startup=startup, env=env)

    def _package(self, build: Build) -> dict[str, Any]:
        if not build.tree.has("package.json"):
            return {}
        try:
            package = json.loads(build.tree.read("package.json"))
        except ValueError as error:
            raise BuildFailed(f"package.json is not JSON: {error}.") from None
        if not isinstance(package, dict) or not isinstance(package.get("scripts", {}), dict):
            raise BuildFailed("package.json must hold an object, and `scripts` in it another one.")
        return package

    def _check_packages(self, build: Build, package: dict[str, Any]) -> None:
        wanted = package.get("dependencies") or {}
        missing = sorted(
            name for name in wanted if not build.tree.has(f"node_modules/{name}/package.json")
        )
        if missing:
            raise PackagesUnavailable(
                f"package.json depends on {', '.join(missing)}, which node_modules does not have.",
                hint="Builds have no network: run `npm install` and push node_modules with the "
                "app (take it out of .cfignore).",
            )

    def _main(self, build: Build, package: dict[str, Any]) -> str:
        named = package.get("main")
        if isinstance(named, str) and build.tree.has(named.removeprefix("./")):
            return named
        scripts = build.tree.find("*.js")
        if len(scripts) == 1:
            return scripts[0]
        return next((name for name in MAIN_FILES if name in scripts), "")
