"""Every plugin, in the order in which they are asked, and the names of 2012 for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.stager.errors import UnknownPlugin
from appliance.stager.messages import BUILT_IN_BUILDPACKS
from appliance.stager.plugins.go import GoPlugin
from appliance.stager.plugins.node import NodePlugin
from appliance.stager.plugins.php import PhpPlugin
from appliance.stager.plugins.plugin import Plugin
from appliance.stager.plugins.procfile import ProcfilePlugin
from appliance.stager.plugins.python import PythonPlugin
from appliance.stager.plugins.ruby import RubyPlugin
from appliance.stager.plugins.static import StaticPlugin

#: The order matters: a Ruby or PHP app often has a package.json for its assets, and any of them
#: may have a Procfile, so that one is asked last.
PLUGINS: Sequence[Plugin] = (
    PhpPlugin(),
    RubyPlugin(),
    NodePlugin(),
    PythonPlugin(),
    GoPlugin(),
    StaticPlugin(),
    ProcfilePlugin(),
)

#: Cloud Foundry's own names for buildpacks that are called otherwise here.
_RENAMED: Mapping[str, str] = {"nodejs": "node", "staticfile": "static", "binary": "procfile"}


def built_in(name: str) -> Plugin:
    """The plugin that is known as the buildpack *name*: ``python_buildpack`` or ``python``.

    Raises:
      UnknownPlugin: there is none.
    """
    short = name.lower().removesuffix("_buildpack").removesuffix("-buildpack")
    wanted = _RENAMED.get(short, short)
    for plugin in PLUGINS:
        if plugin.name == wanted:
            return plugin
    raise UnknownPlugin("buildpack", name, BUILT_IN_BUILDPACKS)


#: ``framework_info.name`` of 2012, by the buildpack that takes such apps now.
FRAMEWORKS: Mapping[str, str] = {
    "sinatra": "ruby_buildpack",
    "rack": "ruby_buildpack",
    "node": "nodejs_buildpack",
    "php": "php_buildpack",
    "wsgi": "python_buildpack",
    "standalone": "binary_buildpack",
    # The plugins' own names will do as well.
    "ruby": "ruby_buildpack",
    "python": "python_buildpack",
    "go": "go_buildpack",
    "static": "staticfile_buildpack",
    "procfile": "binary_buildpack",
}
