"""Ruby apps: Sinatra by its main file, Rack by config.ru; gems are the system's or vendored."""

from __future__ import annotations

from typing import ClassVar

from appliance.stager.errors import StartCommandMissing
from appliance.stager.plugins.plugin import Build, Launch, Rule
from appliance.stager.startup import RUNTIME_TOKEN

#: The 2012 manifest's rule: what makes a Ruby file the main file of a Sinatra app.
REQUIRES_SINATRA = r"""(?m)^\s*require[\s(]*['"]sinatra(/base)?['"]"""
RAILS = ("config/environment.rb",)


class RubyPlugin:
    """Starts the file that requires Sinatra, or ``rackup``."""

    name: ClassVar[str] = "ruby"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("config.ru", because="it has a config.ru", unless=RAILS),
        Rule(
            "*.rb",
            because="a Ruby file at its top requires sinatra",
            containing=REQUIRES_SINATRA,
            unless=RAILS,
        ),
        Rule("Gemfile", because="it has a Gemfile"),
    )

    async def build(self, build: Build) -> Launch:
        """Make the Gemfile's gems available, without network, and find the main file."""
        build.runtime("ruby", package="ruby")
        prefix = await self._bundle(build)
        web = startup = ""
        env = {"RACK_ENV": "${RACK_ENV:-production}"}
        main = build.tree.containing("*.rb", REQUIRES_SINATRA)
        if build.framework != "rack" and main:
            web = f"{prefix}ruby {main[0]} -o ${{VCAP_APP_HOST:-0.0.0.0}} -p $PORT"
            # As in 2012: the DEA passes `-p PORT`, which `$@` hands on.
            startup = f"{prefix}{RUNTIME_TOKEN} {main[0]} $@"
        elif build.tree.has("config.ru"):
            runner = f"{prefix}rackup" if prefix else "ruby -S rackup"
            web = f"{runner} -o ${{VCAP_APP_HOST:-0.0.0.0}} -p $PORT -E $RACK_ENV config.ru"
        elif not build.has_command:
            raise StartCommandMissing("Sinatra", "a file that requires sinatra, or a config.ru")
        return Launch(web=web, startup=startup, env=env)

    async def _bundle(self, build: Build) -> str:
        """Resolve the Gemfile with Bundler; what goes in front of commands from then on."""
        if not build.tree.has("Gemfile"):
            return ""
        if not build.has("bundle"):
            build.note(
                "The Gemfile is not used, since Bundler is not installed (Debian: ruby-bundler). "
                "The app sees the gems of the system."
            )
            return ""
        await build.run(
            "bundle",
            "install",
            "--local",
            env={"BUNDLE_PATH": build.inside(build.deps / "ruby")},
            hint="Gems come from the system or from vendor/cache: run `bundle package` and push "
            "again, or install the gem, e.g. `apt install ruby-sinatra`.",
        )
        return "bundle exec "
