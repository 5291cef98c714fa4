"""Turns requirements into pins, and remembers them while they are fresh, or until better ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.kernel.clock import Clock
from appliance.kernel.process.output import Completed
from appliance.package_cache.errors import Unresolvable, UpstreamUnreachable
from appliance.package_cache.keys import PackageName, normalized, remote_key
from appliance.package_cache.requirements import checked_requirements, names
from appliance.package_cache.runtimes import Runtime
from appliance.package_cache.uv_tool import Uv, explanation, is_unreachable

TIMEOUT = 90.0  # seconds
CompileSources = Callable[[str, Runtime], Awaitable[Completed]]

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """Every package that requirements need, with its version."""

    pins: tuple[PackageName, ...]
    fresh: bool  # False: the index could not be asked, these are from an earlier time
    note: str = ""  # for the staging log, when not fresh

    def answer(self, runtime: str) -> dict[str, object]:
        """The JSON of ``POST /resolve``."""
        pins = [
            {"name": pin.name, "version": pin.version, "key": remote_key(pin, runtime)}
            for pin in self.pins
        ]
        return {"pins": pins, "fresh": self.fresh} | ({"note": self.note} if self.note else {})


@dataclass(kw_only=True)
class Resolver:
    """Resolutions by the digest of requirements and runtime, in the folder *folder*."""

    uv: Uv
    compile_sources: CompileSources  # for what has no wheels
    folder: Path
    clock: Clock
    fresh_for: float  # seconds

    async def resolve(self, text: str, runtime: Runtime) -> Resolution:
        """The pins for requirements *text* on *runtime*.

        Asked again within `fresh_for` seconds, nothing is looked up. When the index cannot be
        reached, older pins are given and said to be so.

        Raises:
          BadRequirement: *text* has more than named packages.
          Unresolvable: no set of versions satisfies it.
          UpstreamUnreachable: nobody can be asked, and there are no older pins.
        """
        wanted = checked_requirements(text)
        asked = f"{wanted}{runtime.name} {runtime.fingerprint()}"
        file = self.folder / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
        known, age = self._remembered(file)
        if known is not None and age < self.fresh_for:
            return Resolution(pins=known, fresh=True)
        try:
            pins = await self._compile(wanted, runtime)
        except UpstreamUnreachable:
            if known is None:
                raise
            note = f"The index cannot be reached; versions are those of {_ago(age)} ago."
            return Resolution(pins=known, fresh=False, note=note)
        await trio.to_thread.run_sync(self._remember, file, pins)
        return Resolution(pins=pins, fresh=True)

    async def _compile(self, wanted: str, runtime: Runtime) -> tuple[PackageName, ...]:
        done = await self.uv.run(
            *("pip", "compile", "-", "--no-header", "--no-annotate", "--only-binary", ":all:"),
            *("--python", runtime.executable),
            input=wanted.encode(),
            timeout=TIMEOUT,
        )
        if done.returncode and b"no usable wheels" in done.stderr and not self.uv.offline:
            done = await self.compile_sources(wanted, runtime)
        said = done.stderr.decode("utf-8", "replace")
        if done.timed_out or (done.returncode and is_unreachable(said)):
            raise UpstreamUnreachable(
                f"The versions of {', '.join(names(wanted))} cannot be found out: the package "
                f"cache does not know them and the index cannot be asked. {explanation(said)}"
            )
        if done.returncode:
            raise Unresolvable(explanation(said))
        return parse_pins(done.stdout.decode())

    def _remembered(self, file: Path) -> tuple[tuple[PackageName, ...] | None, float]:
        """What was found out before, and how many seconds ago."""
        try:
            stored = json.loads(file.read_text())
            pins = tuple(PackageName(name, version) for name, version in stored["pins"])
            return pins, max(0.0, self.clock.time() - stored["at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None, 0.0  # absent, or torn by a crash: look it up

    def _remember(self, file: Path, pins: tuple[PackageName, ...]) -> None:
        stored = {"at": self.clock.time(), "pins": [[pin.name, pin.version] for pin in pins]}
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(stored))
        os.replace(temporary, file)


def parse_pins(text: str) -> tuple[PackageName, ...]:
    """The ``NAME==VERSION`` lines of a compiled requirements file. Pure."""
    matches = map(_PIN.match, text.splitlines())
    return tuple(PackageName(normalized(match[1]), match[2]) for match in matches if match)


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"
