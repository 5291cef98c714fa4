"""The network of builds: a proxy that leads to the package index's own hosts, and nowhere else.

Which those are is in the settings, as far as they name an index. The index that uv asks by
itself, and the hosts that an index hands its files out from, are learnt by watching uv, outside
of the sandbox where it runs nobody's code, ask for two packages that nearly every build needs.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.process.egress import Budget, open_egress, open_learner
from appliance.kernel.process.egress_rules import Target, targets
from appliance.package_cache.runtimes import Runtime
from appliance.package_cache.uv_tool import Uv, environment

BYTES = 2 * 1024 * 1024 * 1024  # that one build may fetch
LEARNING = Budget(bytes=64 * 1024 * 1024, seconds=30.0)
WATCHED = b"setuptools\nwheel\n"
#: Where uv's environment names places to look for packages.
PLACES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
#: A proxy of the machine's own, beyond which names cannot be looked up.
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


@dataclass(frozen=True, slots=True)
class Way:
    """What one build has: a kind of network, and with a proxy its socket and whom it refused."""

    network: Literal["host", "egress"]
    socket: Path | None = None
    refused: list[str] = field(default_factory=list)  # host:port

    def explain(self) -> str:
        """A sentence about the hosts that the build was refused."""
        return f"It asked for {', '.join(self.refused)}, which builds may not reach."


@dataclass(eq=False, kw_only=True)
class WayOut:
    """Opens the proxies of one package cache."""

    kit: Kit
    uv: Uv
    timeout: float  # seconds of one build
    _learnt: frozenset[Target] | None = None
    _learning: trio.Lock = field(default_factory=trio.Lock)
    _said: bool = False

    @asynccontextmanager
    async def open(self, runtime: Runtime) -> AsyncIterator[Way]:
        """The network for one build, while the block lasts."""
        if why := self._impossible():
            if not self._said:
                self._said = True
                self.kit.trace.event("egress.unavailable", why=why)
            yield Way("host")
            return
        way = Way("egress")
        named = configured(environment(os.environ))
        hosts = named | await self._hosts_of_uv(runtime, named)

        def hear(host: str, why: str) -> None:
            if why and len(way.refused) < 5:
                way.refused.append(host)

        async with open_egress(
            hosts,
            budget=Budget(bytes=BYTES, seconds=self.timeout),
            trace=self.kit.trace,
            uid=self.kit.spawner.sandbox.uid,
            on_host=hear,
        ) as egress:
            yield Way("egress", egress.path, way.refused)

    def _impossible(self) -> str:
        """Why builds have the machine's network; "" when they need not."""
        sandbox = self.kit.spawner.sandbox
        if not sandbox.isolated:
            return sandbox.reason
        if any(os.environ.get(name) for name in PROXIES):
            return "the index is behind a proxy of this machine's own"
        return ""

    async def _hosts_of_uv(self, runtime: Runtime, named: frozenset[Target]) -> frozenset[Target]:
        """The hosts that uv asks; found out once, and again as long as that fails."""
        async with self._learning:
            if self._learnt is None:
                # The token keeps others on this machine from putting hosts on the list.
                secret = f"appliance:{self.kit.ids.hex(32)}"
                token = b"Basic " + base64.b64encode(secret.encode())
                async with open_learner(
                    named, budget=LEARNING, trace=self.kit.trace, token=token
                ) as (
                    learner,
                    port,
                ):
                    place = f"http://{secret}@127.0.0.1:{port}"
                    done = await self.uv.run(
                        *("pip", "compile", "-", "--only-binary", ":all:"),
                        *("--no-cache", "--no-header", "--python", runtime.executable),
                        input=WATCHED,
                        timeout=LEARNING.seconds,
                        env=dict.fromkeys(PROXIES, place) | {"NO_PROXY": "", "no_proxy": ""},
                    )
                    learnt = frozenset(learner.learnt)
                if done.returncode:
                    return learnt
                self._learnt = learnt
                self.kit.trace.event(
                    "egress.learnt", hosts=", ".join(sorted(str(one) for one in learnt))
                )
            return self._learnt


def configured(env: Mapping[str, str]) -> frozenset[Target]:
    """The hosts that uv's environment *env* names. Pure."""
    return targets(word for name in PLACES for word in env.get(name, "").replace(",", " ").split())
