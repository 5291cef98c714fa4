"""Decides which buildpacks may take an app, and whether one of ours recognises it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.stager.errors import UnknownPlugin
from appliance.stager.messages import BUILT_IN_BUILDPACKS, BuildpackToTry, Properties
from appliance.stager.plugins.plugin import Plugin
from appliance.stager.tree import Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """The buildpacks of a request, in order."""

    buildpacks: tuple[BuildpackToTry, ...]
    #: Why all of them take part; "" when the first one that recognises the app takes it.
    because: str = ""


def candidates(properties: Properties, frameworks: Mapping[str, str]) -> Candidates:
    """Who may build the app: what was asked for, else all that there are.

    Args:
      frameworks: Buildpack names by the framework names of 2012.

    Raises:
      UnknownPlugin: the framework that was asked for is none of ours.
    """
    framework = str((properties.framework_info or {}).get("name") or "")
    if framework:
        if framework not in frameworks:
            raise UnknownPlugin("framework", framework, list(frameworks))
        named = BuildpackToTry(name=frameworks[framework], skip_detect=True)
        return Candidates(buildpacks=(named,), because=f"the request says {framework}")
    listed = properties.buildpack_list or [
        BuildpackToTry(name=name, skip_detect=True) for name in properties.buildpacks
    ]
    if chosen := tuple(pack for pack in listed if pack.skip_detect):
        return Candidates(buildpacks=chosen, because="it was asked for")
    own = [BuildpackToTry(name=name) for name in BUILT_IN_BUILDPACKS]
    return Candidates(buildpacks=tuple(listed or own))


def recognise(tree: Tree, plugin: Plugin) -> str | None:
    """Why *plugin* takes the app, as the end of a sentence; None when it does not."""
    return next((rule.because for rule in plugin.rules if rule.matches(tree)), None)


def names_tried(buildpacks: Sequence[BuildpackToTry]) -> list[str]:
    """The names of *buildpacks* for the sentence that none of them fits."""
    return [pack.name.removesuffix("_buildpack") for pack in buildpacks]
