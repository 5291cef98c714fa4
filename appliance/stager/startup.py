"""Makes the droplet's ``startup`` and ``stop`` scripts and its ``staging_info.yml``. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence

#: Stands for the runtime's executable; the DEA puts the path in when it unpacks the droplet.
RUNTIME_TOKEN = "%VCAP_LOCAL_RUNTIME%"

#: What every app finds in its environment, whatever started the script. ``$PWD`` is the
#: droplet's top folder here; a DEA of 2012 gives the port as VCAP_APP_PORT only.
EXPORTS: Mapping[str, str | None] = {
    "DEPS_DIR": "$PWD/deps",
    "HOME": "$PWD/app",
    "PORT": "${PORT:-$VCAP_APP_PORT}",
}

_STARTUP = """\
#!/bin/bash
{exports}
export TMPDIR="$PWD/tmp"
for script in deps/*/profile.d/*.sh profile.d/*.sh; do
  [ -f "$script" ] && . "$script"
done
cd app
for script in .profile.d/*.sh .profile; do
  [ -f "$script" ] && . "./$script"
done
# Whoever reads our output himself says so; else it goes to files.
[ -n "$VCAP_STREAM_LOGS" ] || exec > ../logs/stdout.log 2> ../logs/stderr.log
# The app gets a process group of its own, so that a signal for this script, or for its
# whole group, reaches the app exactly once: through the trap.
set -m
trap '[ -n "$!" ] || exit 143; kill -TERM -- -$!' TERM
trap '[ -n "$!" ] || exit 130; kill -INT -- -$!' INT
# Only the app speaks: bash would comment on its end.
exec 3>&2 2> /dev/null
if [ -n "$VCAP_START_COMMAND" ]; then
  bash -c "$VCAP_START_COMMAND" 2>&3 3>&- &
else
  {command} 2>&3 3>&- &
fi
STARTED=$!
echo "$STARTED" >> ../run.pid
wait -f $STARTED
STATUS=$?
while kill -0 $STARTED; do
  wait -f $STARTED
  STATUS=$?
done
exit $STATUS
"""

_STOP = """\
#!/bin/bash
{exports}
export TMPDIR="$PWD/tmp"
APP_PID=$1
APP_PPID=$(ps -o ppid= -p $APP_PID)
kill -9 $APP_PID
kill -9 $APP_PPID
exit 0
"""

#: For an app whose buildpacks do not say how it starts, when it is started without a command.
NO_COMMAND = "echo 'No start command was given, and the buildpack has none.' >&2; exit 1"

_SHELL = re.compile(r"[;&|<>\n()`]|^\s*\w+=")


def startup_script(command: str, exports: Mapping[str, str | None] = EXPORTS) -> str:
    """The script that runs *command* in ``app/`` and ends when it ends, with its status.

    Args:
      command: One line of shell. ``$@`` stands for the script's arguments (the DEA's
        ``-p PORT``), `RUNTIME_TOKEN` for the runtime's executable.
      exports: Variables by name; values are expanded by the shell, None unsets.
    """
    # A simple command can be read as it was given; what is more than that needs a shell of
    # its own, or only its last part would be waited for.
    run = f'bash -c {shlex.quote(command)} startup "$@"' if _SHELL.search(command) else command
    return _STARTUP.format(exports=_export_lines(exports), command=run)


def stop_script(exports: Mapping[str, str | None] = EXPORTS) -> str:
    """The script that kills the process given as its argument, and the one that waits for it."""
    return _STOP.format(exports=_export_lines(exports))


def profile_script(env: Mapping[str, str]) -> str:
    """A ``profile.d`` script that exports *env*; values are expanded by the shell."""
    return _export_lines(env) + "\n"


def staging_info(
    detected: str,
    process_types: Mapping[str, str],
    sidecars: Sequence[Mapping[str, object]] = (),
) -> str:
    """The text of ``staging_info.yml``: JSON, which is YAML too."""
    info: dict[str, object] = {
        "detected_buildpack": detected,
        "start_command": main_command(process_types),
        "process_types": dict(process_types),
    }
    if sidecars:
        info["sidecars"] = list(sidecars)
    return json.dumps(info, indent=2) + "\n"


def main_command(process_types: Mapping[str, str]) -> str:
    """The command that ``startup`` runs: the web process's, else the first one's, else ""."""
    return process_types.get("web") or next(iter(process_types.values()), "")


def _export_lines(exports: Mapping[str, str | None]) -> str:
    return "\n".join(
        f"unset {name}" if value is None else f'export {name}="{value}"'
        for name, value in sorted(exports.items())
    )
