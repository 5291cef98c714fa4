"""Runs uv, the trusted tool that asks the configured index and unpacks wheels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.kernel.process.output import Completed
from appliance.kernel.process.spawner import Spawner

#: What uv may see of the appliance's environment: where the index is, and how to get there.
PASSED = (
    "HOME", "PATH", "TMPDIR", "NETRC", "LANG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip

#: pip's names for settings, which uv does not read itself.
TRANSLATED = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}

_UNREACHABLE = (
    "error sending request",
    "Failed to fetch",
    "dns error",
    "network was disabled",
    "not found in the cache",
    "Network connectivity is disabled",
    "operation timed out",
)


@dataclass(frozen=True, slots=True)
class Uv:
    """uv with the appliance's own index settings."""

    spawner: Spawner
    folder: Path  # its working folder: no project's settings are found there
    offline: bool

    async def run(
        self,
        *argv: str | Path,
        timeout: float,
        input: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run ``uv ARGV``, with *env* on top; a status other than 0 is no error here."""
        options: Sequence[str] = ("--offline",) if self.offline else ()
        return await self.spawner.run(
            [find_uv(), *argv, "--no-progress", "--color", "never", *options],
            env=environment(os.environ) | dict(env or {}),
            cwd=self.folder,
            timeout=timeout,
            input=input,
        )


def find_uv() -> Path:
    """The uv that is installed with the appliance."""
    import uv

    return Path(uv.find_uv_bin())


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment *ours* that uv gets. Pure."""
    env = {name: ours[name] for name in PASSED if name in ours}
    # Three tries take 6 s when nobody is there; one more after a hiccup is enough.
    env["UV_HTTP_RETRIES"] = "1"
    for theirs, its in TRANSLATED.items():
        if theirs in ours:
            env[its] = ours[theirs]
    env |= {name: value for name, value in ours.items() if name.startswith("UV_")}
    # The system's certificates, as pip and curl use: those of a company's proxy among them.
    env.setdefault("UV_SYSTEM_CERTS", "1")
    # A droplet's files have no times; only this kind of bytecode does not compare them.
    env["PYC_INVALIDATION_MODE"] = "UNCHECKED_HASH"
    return env


def is_unreachable(stderr: str) -> bool:
    """Whether uv failed because it could not, or may not, ask the index. Pure."""
    return any(sign in stderr for sign in _UNREACHABLE)


def explanation(stderr: str) -> str:
    """What uv says is wrong, as one sentence. Pure."""
    lines = [line.strip() for line in stderr.splitlines()]
    causes = [line.removeprefix("cause: ") for line in lines if line.startswith("cause: ")]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    said = (causes or errors or [line for line in lines if line] or ["it said nothing"])[0]
    return said if said.endswith(".") else said + "."
