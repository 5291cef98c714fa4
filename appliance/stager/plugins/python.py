"""Python apps: requirements are installed beside the app, so there is no venv to move."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from appliance.stager.errors import StartCommandMissing
from appliance.stager.plugins.plugin import Build, Launch, Rule
from appliance.stager.requirements import gather_requirements, has_requirements

MAIN_FILES = ("app.py", "main.py", "server.py", "run.py")

#: Serves the ``application`` of a wsgi.py, one request after the other, without any package.
WSGIREF = (
    'python3 -c "import os, wsgi; from wsgiref.simple_server import make_server; '
    "make_server('', int(os.environ['PORT']), wsgi.application).serve_forever()\""
)
GUNICORN = "gunicorn --bind ${VCAP_APP_HOST:-0.0.0.0}:$PORT wsgi:application"


class PythonPlugin:
    """Installs what the app requires and starts ``app.py`` or ``main.py``."""

    name: ClassVar[str] = "python"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("requirements.txt", because="it has a requirements.txt"),
        Rule("pyproject.toml", because="it has a pyproject.toml"),
        Rule("*.py", because="it has Python files at the top"),
    )

    async def build(self, build: Build) -> Launch:
        """Install the requirements into ``deps/INDEX/python`` and find the main file."""
        python = build.runtime("python3", package="python3")
        site = build.deps / "python"
        requirements = gather_requirements(build.tree)
        if has_requirements(requirements):
            wheels = build.tree.find("vendor/*.whl")
            if wheels:
                build.note(f"Installing from the {len(wheels)} wheels in vendor/")
                await self._install_vendored(build, requirements, str(python))
            else:
                await build.install_python(requirements, site)
        web = self._web(build, requirements)
        if not web and not build.has_command:
            raise StartCommandMissing("Python", "an app.py or main.py")
        installed = f"$DEPS_DIR/{build.index}/python"
        env = {
            "PATH": f"{installed}/bin:$PATH",
            "PYTHONPATH": f"{installed}${{PYTHONPATH:+:$PYTHONPATH}}",
            "PYTHONUNBUFFERED": "${PYTHONUNBUFFERED:-1}",
        }
        return Launch(web=web, env=env)

    async def _install_vendored(self, build: Build, requirements: str, python: str) -> None:
        import uv

        tool = Path(uv.find_uv_bin())
        listed = build.scratch / "requirements.txt"
        listed.write_text(requirements)
        site = build.deps / "python"
        await build.run(
            tool,
            *("pip", "install", "--offline", "--no-index", "--no-config", "--no-cache"),
            *("--only-binary", ":all:", "--find-links", "vendor", "--link-mode", "copy"),
            *("--python", python, "--target", site, "--quiet", "-r", listed),
            show=[tool, listed],
            hint="Put the missing wheel into vendor/: `pip wheel -r requirements.txt -w vendor`.",
        )

    def _web(self, build: Build, requirements: str) -> str:
        scripts = build.tree.find("*.py")
        main = next((name for name in MAIN_FILES if name in scripts), "")
        if "wsgi.py" in scripts and (build.framework == "wsgi" or not main):
            if re.search(r"(?mi)^gunicorn\b", requirements):
                return GUNICORN
            build.note("Serving wsgi.py with wsgiref; requirements.txt may name gunicorn instead")
            return WSGIREF
        if not main and len(scripts) == 1:
            main = scripts[0]
        return f"python3 {main}" if main else ""
