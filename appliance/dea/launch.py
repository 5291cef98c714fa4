"""How a droplet is started: by its own script of 2012, or by a launcher of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.dea.errors import DropletUnusable
from appliance.dea.messages import Start

RUNTIME_TOKEN = "%VCAP_LOCAL_RUNTIME%"  # in a startup script: the path of the runtime's program

#: Variables that our own startup scripts look at; those of 2012 do not know them.
COMMAND_VARIABLE = "VCAP_START_COMMAND"
STREAM_VARIABLE = "VCAP_STREAM_LOGS"

#: For droplets without a startup script. What the profiles print is the app's own output.
LAUNCHER = f"""\
cd app || exit 1
shopt -s nullglob
for part in ../deps/*/profile.d/*.sh ../profile.d/*.sh .profile.d/*.sh; do . "$part"; done
if [ -f .profile ]; then . ./.profile; fi
command=${COMMAND_VARIABLE}
unset {COMMAND_VARIABLE} {STREAM_VARIABLE}
exec bash -c "$command"
"""

_PROCFILE_LINE = re.compile(r"^([A-Za-z0-9_-]+):[ \t]*(.+?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What an unpacked droplet says about its start."""

    has_app: bool
    startup: str | None = None  # the text of the script
    staging_info: Mapping[str, object] = field(default_factory=dict)
    procfile: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The first program of an instance, run in the top folder of the droplet."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def launch(contents: Contents, order: Start, port: int | None) -> Launch:
    """How to start the process that *order* asks for.

    The droplet's own script runs its web process; everything else is a command: the
    order's, else the one that the droplet has for that type of process.

    Raises:
      DropletUnusable: there is nothing to start.
    """
    wanted = order.command
    if not wanted and (contents.startup is None or order.process_type != "web"):
        wanted = command_of(contents, order.process_type)
        if not wanted:
            raise DropletUnusable(
                f"Droplet has no start command for the process type {order.process_type}"
            )
    env = {STREAM_VARIABLE: "1"}
    if wanted:
        env[COMMAND_VARIABLE] = wanted
    if contents.startup is not None and (not wanted or COMMAND_VARIABLE in contents.startup):
        arguments = ("-p", str(port)) if port is not None else ()
        return Launch(argv=("./startup", *arguments), env=env)
    if not contents.has_app:
        raise DropletUnusable("Droplet has neither a startup script nor a folder app")
    return Launch(argv=("/bin/bash", "-c", LAUNCHER, "launcher"), env=env)


def command_of(contents: Contents, process_type: str) -> str | None:
    """The droplet's own command for *process_type*: of its staging, else of its Procfile."""
    info = contents.staging_info
    types = info.get("process_types")
    if isinstance(types, dict) and isinstance(found := types.get(process_type), str) and found:
        return found
    if process_type == "web" and isinstance(found := info.get("start_command"), str) and found:
        return found
    return dict(_PROCFILE_LINE.findall(contents.procfile.replace("\r", ""))).get(process_type)
