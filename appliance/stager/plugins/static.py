"""Static sites, served by a small server that is put into the droplet."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import ClassVar

from appliance.stager.plugins.plugin import Build, Launch, Rule

_SETTING = re.compile(r"^\s*([\w-]+)\s*:\s*(.+?)\s*$")


class StaticPlugin:
    """Serves the files below the Staticfile's ``root``, else all of them."""

    name: ClassVar[str] = "static"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("Staticfile", because="it has a Staticfile"),
        Rule("index.html", because="it has an index.html", unless=("Procfile",)),
    )

    async def build(self, build: Build) -> Launch:
        """Put the server beside the site."""
        build.runtime("python3", package="python3")
        settings = staticfile(build.tree.read("Staticfile") if build.tree.has("Staticfile") else "")
        target = build.deps / "static"
        target.mkdir()
        shutil.copyfile(Path(__file__).with_name("static_server.py"), target / "serve.py")
        web = f"python3 $DEPS_DIR/{build.index}/static/serve.py"
        if settings.get("pushstate") == "enabled":
            web += " --pushstate"
        return Launch(web=f"{web} {_folder(settings.get('root', '.'))}")


def staticfile(text: str) -> dict[str, str]:
    """The settings of a Staticfile: ``name: value`` lines."""
    return {match[1]: match[2] for line in text.splitlines() if (match := _SETTING.match(line))}


def _folder(root: str) -> str:
    # It goes into a line of shell, so only a plain folder name below the app will do.
    return root if re.fullmatch(r"[\w][\w./-]*", root) and ".." not in root else "."
