"""Brings a buildpack from a git repository. Git itself runs in the sandbox, with its network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urldefrag

from appliance.kernel.kit import Kit
from appliance.kernel.process.sandbox import HOME, MIB, Limits, Profile
from appliance.kernel.redact import redact
from appliance.stager.build import SYSTEM_PATH
from appliance.stager.errors import BuildpackUnavailable
from appliance.stager.log import TaskLog

LONGEST = 600.0  # seconds for one clone
MEMORY = 1024 * MIB
DISK = 1024 * MIB  # of one file

#: No file of this machine, no ssh with keys of ours, and no question that nobody answers.
_ENV = {
    "GIT_ALLOW_PROTOCOL": "http:https:git",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}


async def clone(name: str, folder: Path, kit: Kit, log: TaskLog) -> Path:
    """Clone the repository that *name* is the URL of into the new folder *folder*; where it is.

    The newest commit only, where the server can do that: plain file servers cannot, and a
    commit that is named by its digest is no branch.

    Raises:
      BuildpackUnavailable: git is missing, or did not succeed; its words are in the log.
    """
    shown = redact(name)
    url, branch = urldefrag(name)
    if url.startswith("-") or branch.startswith("-"):
        raise BuildpackUnavailable(shown, "its URL begins with a dash.")
    if shutil.which("git", path=SYSTEM_PATH) is None:
        raise BuildpackUnavailable(
            shown, "git is not installed on this machine.", hint="`apt install git`, or name a zip."
        )
    sandbox = kit.spawner.sandbox
    target = folder / "buildpack"

    async def git(*words: str | Path) -> bool:
        profile = Profile(
            name="git",
            home=folder,
            cwd=HOME,
            network="host",
            env=_ENV,
            limits=Limits(memory=MEMORY, total=MEMORY, disk=DISK),
        )
        inside = [
            sandbox.inside(profile, word) if isinstance(word, Path) else word for word in words
        ]
        command = sandbox.command(profile, ["git", *inside])
        done = await kit.spawner.run(
            command.argv,
            env=command.env,
            cwd=command.cwd,
            timeout=LONGEST,
            on_line=lambda text, is_stderr: log.line(redact(text), is_stderr),
        )
        return done.returncode == 0

    os.mkdir(folder)
    await sandbox.hand_over(folder)
    wanted = ("--branch", branch) if branch else ()
    shallow = ("clone", "--quiet", "--depth", "1", "--recurse-submodules", *wanted, "--", url)
    if not await git(*shallow, target):
        await sandbox.remove(target)
        log.info("Cloning without --depth")
        if not await git("clone", "--quiet", "--recurse-submodules", "--", url, target):
            raise BuildpackUnavailable(shown, "it could not be cloned.")
        if branch and not await git("-C", target, "checkout", "--quiet", branch, "--"):
            raise BuildpackUnavailable(shown, f"it has no branch, tag or commit {branch}.")
    await sandbox.reclaim(folder)
    return target
