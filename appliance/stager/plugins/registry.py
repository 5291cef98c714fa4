"""Every plugin, in the order in which they are asked, and the names of 2012 for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

#: ``framework_info.name`` of 2012, by the plugin that takes such apps now.
FRAMEWORKS: Mapping[str, str] = {
    "sinatra": "ruby",
    "rack": "ruby",
    "node": "node",
    "php": "php",
    "wsgi": "python",
    "standalone": "procfile",
}
