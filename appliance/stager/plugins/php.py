"""PHP apps, served by PHP's own web server."""

from __future__ import annotations

from typing import ClassVar

from appliance.stager.errors import PackagesUnavailable
from appliance.stager.plugins.plugin import Build, Launch, Rule

DOCUMENT_ROOTS = ("public", "htdocs", "web")


class PhpPlugin:
    """Starts ``php -S`` in the document root."""

    name: ClassVar[str] = "php"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("composer.json", because="it has a composer.json"),
        Rule("*.php", because="it has PHP files at the top"),
    )

    async def build(self, build: Build) -> Launch:
        """Check that there is a PHP, and that Composer's packages came with the app."""
        build.runtime("php", package="php-cli")
        lock = build.tree.has("composer.lock")
        if lock and not build.tree.has("vendor/autoload.php"):
            raise PackagesUnavailable(
                "composer.lock names packages, and there is no vendor/autoload.php.",
                hint="Run `composer install --no-dev` and push the vendor folder with the app.",
            )
        root = next((name for name in DOCUMENT_ROOTS if build.tree.find(f"{name}/*.php")), ".")
        return Launch(web=f"php -S ${{VCAP_APP_HOST:-0.0.0.0}}:$PORT -t {root}")
