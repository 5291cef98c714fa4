"""Every plugin, in the order in which they are asked, and the names of 2012 for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .go import GoPlugin
from .node import NodePlugin
from .php import PhpPlugin
from .plugin import Plugin
from .procfile import ProcfilePlugin
from .python import PythonPlugin
from .ruby import RubyPlugin
from .static import StaticPlugin

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
