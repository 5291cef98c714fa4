"""Apps that say themselves how they start: a Procfile, or a start command, and nothing to build."""

from __future__ import annotations

from typing import ClassVar

from appliance.stager.plugins.plugin import Build, Launch, Rule


class ProcfilePlugin:
    """Leaves the app as it is. Also the ``standalone`` framework of 2012."""

    name: ClassVar[str] = "procfile"
    rules: ClassVar[tuple[Rule, ...]] = (Rule("Procfile", because="it has a Procfile"),)

    async def build(self, build: Build) -> Launch:  # noqa: ARG002  # the protocol's
        """Nothing to do: the Procfile or the request's command is the whole truth."""
        return Launch()
