"""Builds one package: installs it into an empty folder, in the sandbox where its code may run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.process.archive import DROPLET_LIMITS, ArchiveRefused, unpack_tar
from appliance.kernel.process.output import Completed
from appliance.kernel.process.sandbox import HOME, MIB, Limits, Profile
from appliance.package_cache.errors import BadInboxFile, BuildFailed, UpstreamUnreachable
from appliance.package_cache.folders import Folders
from appliance.package_cache.keys import PackageName
from appliance.package_cache.runtimes import Runtime
from appliance.package_cache.uv_tool import (
    Uv,
    environment,
    explanation,
    find_uv,
    is_unreachable,
)
from appliance.package_cache.way_out import Way, WayOut
from appliance.package_cache.wheel import wheel_name

LIMITS = Limits(memory=2048 * MIB, disk=2048 * MIB, processes=512, files=4096)
SAID = 500  # characters of a failed tool's words that are handed on
RESULT = "package"  # the folder inside a build's own that becomes the archive

#: Installs one thing as it is, without looking at what it requires.
INSTALL = ("pip", "install", "--no-deps", "--link-mode", "copy", "--compile-bytecode")


@dataclass(frozen=True, slots=True)
class Build:
    """One build's folder; *home* is /home/vcap in the sandbox, and *result* is in it."""

    home: Path

    @property
    def result(self) -> Path:
        """What will be packed."""
        return self.home / RESULT


@dataclass(frozen=True, kw_only=True, slots=True)
class Builder:
    """Knows how each type of package is built."""

    kit: Kit
    folders: Folders
    uv: Uv
    way_out: WayOut
    timeout: float  # seconds

    async def remote_pip(self, package: PackageName, runtime: Runtime, build: Build) -> None:
        """Fetch a wheel and unpack it; without one, build the source in the sandbox."""
        pinned = f"{package.name}=={package.version}"
        done = await self.uv.run(
            *INSTALL,
            *("--only-binary", ":all:", "--python", runtime.executable),
            *("--target", build.result, pinned),
            timeout=self.timeout,
        )
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode and "no usable wheels" in said and not self.uv.offline:
            await self._remote_source(pinned, runtime, build)
        elif done.returncode and is_unreachable(said):
            raise UpstreamUnreachable(
                f"{pinned} is not in the package cache, and the index cannot be asked: "
                f"{explanation(said)}"
            )
        else:
            _check(done, f"pip install {pinned}")

    async def _remote_source(self, pinned: str, runtime: Runtime, build: Build) -> None:
        # Its build runs code of the package: in the sandbox, which for this reaches the index.
        await self._sandboxed(
            f"pip install {pinned}",
            [
                find_uv(),
                *INSTALL,
                *("--python", runtime.executable, "--target", build.result, pinned),
            ],
            build,
            show=[],
            env=self._with_network(),
            network=runtime,
        )

    def _with_network(self) -> dict[str, str]:
        env = environment(os.environ) | {"HOME": HOME, "UV_CACHE_DIR": f"{HOME}/uv-cache"}
        return {name: value for name, value in env.items() if name not in ("PATH", "TMPDIR")}

    async def compile_sources(self, wanted: str, runtime: Runtime) -> Completed:
        """Resolve requirements of which some have no wheels.

        What such a package requires is known only after running its build: in the sandbox.
        """
        sandbox = self.kit.spawner.sandbox
        build = Build(self.folders.builds / self.kit.ids.hex(16))
        sandbox.make_root(build.home)
        try:
            listed = trio.Path(build.home / "requirements.in")
            await listed.write_text(wanted)
            return await self._run(
                [
                    find_uv(),
                    *("pip", "compile", Path(listed), "--no-header", "--no-annotate"),
                    *("--python", runtime.executable, "--no-progress", "--color", "never"),
                ],
                build,
                show=[],
                env=self._with_network(),
                network=runtime,
            )
        finally:
            with trio.CancelScope(shield=True):
                await sandbox.remove(build.home)

    async def local_pip(self, source: Path, runtime: Runtime, build: Build) -> None:
        """Install a wheel or a source archive that somebody brought."""
        alone: tuple[str, ...] = ("--offline", "--no-index", "--no-config", "--no-cache")
        if source.name.endswith(".whl"):
            name = await trio.to_thread.run_sync(wheel_name, source)
            subject: Path = build.home / name
            await trio.to_thread.run_sync(os.link, source, subject)
        elif source.name.endswith((".tar.gz", ".tgz")):
            subject = await trio.to_thread.run_sync(_unpack_source, source, build.home / "source")
            alone = (*alone, "--no-build-isolation")
        else:
            raise BadInboxFile(f"{source.name} is neither a wheel nor a .tar.gz")
        await self._sandboxed(
            f"pip install {source.name}",
            [
                find_uv(),
                *INSTALL,
                *alone,
                *("--python", runtime.executable, "--target", build.result, subject),
            ],
            build,
            show=[],
            env={"PYC_INVALIDATION_MODE": "UNCHECKED_HASH"},
        )

    async def local_gem(self, source: Path, runtime: Runtime, build: Build) -> None:
        """Install a gem that somebody brought; its extensions are compiled in the sandbox."""
        words = ("--local", "--ignore-dependencies", "--no-document", "--env-shebang", "--force")
        await self._sandboxed(
            f"gem install {source.name}",
            [
                runtime.executable,
                *("-S", "gem", "install", source, *words),
                *("--install-dir", build.result),
            ],
            build,
            show=[source],
            env={},
        )

    async def remote_gem(self, package: PackageName, runtime: Runtime, build: Build) -> None:
        """Fetch a gem with the gem tool, which runs nothing of it, then install that file."""
        if self.uv.offline:
            raise UpstreamUnreachable(
                f"{package.canonical} is not in the package cache, which is offline."
            )
        fetched = build.home.with_name(build.home.name + "-gem")
        await trio.Path(fetched).mkdir()
        try:
            platform = ("--platform", package.platform) if package.platform else ()
            done = await self.kit.spawner.run(
                [
                    runtime.executable,
                    *("-S", "gem", "fetch", package.name, "--version", package.version),
                    *platform,
                ],
                env=environment(os.environ),
                cwd=fetched,
                timeout=self.timeout,
            )
            gems = await trio.to_thread.run_sync(lambda: sorted(fetched.glob("*.gem")))
            if done.returncode or not gems:
                said = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())
                raise UpstreamUnreachable(
                    f"gem fetch {package.canonical} failed, {said[:SAID]}",
                    hint="Put the gem into the inbox, or into vendor/cache of the app.",
                )
            await self.local_gem(gems[0], runtime, build)
        finally:
            await self.kit.spawner.sandbox.remove(fetched)

    async def _sandboxed(
        self,
        what: str,
        argv: list[str | Path],
        build: Build,
        *,
        show: list[Path],
        env: Mapping[str, str],
        network: Runtime | None = None,
    ) -> None:
        try:
            _check(await self._run(argv, build, show=show, env=env, network=network), what)
        except ValueError as error:
            # A runtime of the operator's own, outside of /usr: wheels can be unpacked for it.
            why = f"{what} needs the sandbox, which lacks the runtime: {error}."
            raise BuildFailed(why) from None

    async def _run(
        self,
        argv: list[str | Path],
        build: Build,
        *,
        show: list[Path],
        env: Mapping[str, str],
        network: Runtime | None,
    ) -> Completed:
        """Run *argv* in the sandbox; with *network*, the index for that runtime is reached."""
        if network is None:
            return await self._confined(argv, build, show=show, env=env, way=None)
        async with self.way_out.open(network) as way:
            done = await self._confined(argv, build, show=show, env=env, way=way)
        if done.returncode and way.refused:
            # Where people read why it failed.
            said = explanation(done.stderr.decode("utf-8", "replace"))
            cause = f"cause: {said} {way.explain()}\n"
            return replace(done, stderr=cause.encode() + done.stderr)
        return done

    async def _confined(
        self,
        argv: list[str | Path],
        build: Build,
        *,
        show: list[Path],
        env: Mapping[str, str],
        way: Way | None,
    ) -> Completed:
        sandbox = self.kit.spawner.sandbox
        profile = Profile(
            name="package-build",
            home=build.home,
            cwd=HOME,
            limits=LIMITS,
            network=way.network if way else "none",
            egress=way.socket if way else None,
            read_only={find_uv(): "/opt/uv"} | {path: f"/src/{path.name}" for path in show},
        )
        home = sandbox.inside(profile, build.home)  # not /home/vcap where nothing is isolated
        placed = {name: value.replace(HOME, home) for name, value in env.items()}
        profile = replace(profile, env=placed)
        words = [sandbox.inside(profile, word) if isinstance(word, Path) else word for word in argv]
        await sandbox.hand_over(build.home)
        command = sandbox.command(profile, words)
        done = await self.kit.spawner.run(
            command.argv, env=command.env, cwd=command.cwd, timeout=self.timeout
        )
        await sandbox.reclaim(build.home)
        return done


def _check(done: Completed, what: str) -> None:
    if done.timed_out:
        raise BuildFailed(f"{what} took too long and was stopped.")
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace")
        raise BuildFailed(f"{what} failed, {explanation(said)}")


def _unpack_source(archive: Path, into: Path) -> Path:
    try:
        unpack_tar(archive, into, DROPLET_LIMITS)
    except ArchiveRefused as error:
        raise BadInboxFile(str(error)) from error
    entries = list(into.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else into
