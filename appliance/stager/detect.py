"""Decides which plugin takes an app. Pure: it sees the request and the app's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.stager.errors import NoPluginMatched, UnknownPlugin
from appliance.stager.plugins.plugin import Plugin
from appliance.stager.tree import Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """The plugin that takes the app, and the reason, as the end of a sentence."""

    plugin: Plugin
    because: str


def detect(
    tree: Tree,
    *,
    plugins: Sequence[Plugin],
    frameworks: Mapping[str, str],
    framework: str = "",
    buildpacks: Sequence[str] = (),
    command: str = "",
) -> Detection:
    """The plugin for *tree*: the one that was asked for, else the first that recognises it.

    Args:
      frameworks: Plugin names by the framework names of 2012.
      framework: ``framework_info.name`` of the request; "" to detect.
      buildpacks: Names as in ``cf push -b``, e.g. ``python_buildpack``; the last one decides.
      command: The start command; an app that has one needs nothing else.

    Raises:
      NoPluginMatched: nothing in the app tells what it is.
      UnknownPlugin: *framework* or a buildpack is not among ours.
    """
    by_name = {plugin.name: plugin for plugin in plugins}
    if framework:
        name = frameworks.get(framework, framework)
        if name not in by_name:
            raise UnknownPlugin("framework", framework, [*frameworks, *by_name])
        return Detection(plugin=by_name[name], because=f"the request says {framework}")
    if buildpacks:
        plugin = [_by_buildpack(name, by_name) for name in buildpacks][-1]
        return Detection(plugin=plugin, because=f"buildpack {buildpacks[-1]} was asked for")
    for plugin in plugins:
        for rule in plugin.rules:
            if rule.matches(tree):
                return Detection(plugin=plugin, because=rule.because)
    if command and "procfile" in by_name:
        return Detection(plugin=by_name["procfile"], because="it has a start command")
    raise NoPluginMatched([plugin.name for plugin in plugins])


#: Cloud Foundry's own names for buildpacks that are called otherwise here.
_BUILDPACKS = {"nodejs": "node", "staticfile": "static", "binary": "procfile"}


def _by_buildpack(name: str, by_name: Mapping[str, Plugin]) -> Plugin:
    short = name.lower().removesuffix("_buildpack").removesuffix("-buildpack")
    plugin = by_name.get(_BUILDPACKS.get(short, short))
    if plugin is None:
        raise UnknownPlugin("buildpack", name, [f"{known}_buildpack" for known in by_name])
    return plugin
