"""What programs find in their environment while an app is built. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from appliance.kernel.vcap import database_url, services_by_label
from appliance.stager.errors import BuildFailed
from appliance.stager.messages import StagingRequest


def parse_environment(lines: Sequence[str]) -> dict[str, str]:
    """The variables of ``NAME=value`` lines; without a value it is empty.

    Raises:
      BuildFailed: one has a NUL, which no environment can hold.
    """
    variables = {}
    for line in lines:
        name, _, value = line.partition("=")
        if "\0" in line:
            raise BuildFailed(f"The environment variable {name!r} has a NUL character in it.")
        if name:
            variables[name] = value
    return variables


def build_environment(request: StagingRequest) -> dict[str, str]:
    """The user's variables, and over them those that Cloud Foundry promises to a build."""
    properties = request.properties
    application = properties.vcap_application or {"application_id": str(request.app_id)}
    services = properties.vcap_services
    if services is None:
        services = services_by_label(properties.services)
    database = database_url(services)
    return {
        **({"DATABASE_URL": database} if database else {}),
        **parse_environment(properties.environment),
        "CF_STACK": properties.stack or "",
        "MEMORY_LIMIT": f"{properties.resources.memory}m",
        "VCAP_APPLICATION": json.dumps(application),
        "VCAP_SERVICES": json.dumps(services),
    }


def supplied_environment(
    names: Mapping[str, Sequence[str]], values: Mapping[str, Mapping[str, str]], deps: str
) -> dict[str, str]:
    """What the folders of earlier buildpacks give to the build of a later one.

    As Cloud Foundry's buildpacks agreed among themselves: programs, libraries and headers by
    their folders, the later buildpack's first, and any variable by a file in ``env``.

    Args:
      names: What is in each folder below deps, by its index, in order.
      values: The text of the files in each folder's ``env``, by the same index.
      deps: The folder deps as the build sees it.
    """
    found: dict[str, str] = {}
    for variable, folder in _SUPPLIED.items():
        places = [f"{deps}/{index}/{folder}" for index in names if folder in names[index]]
        if places:
            found[variable] = ":".join(reversed(places))
    if "PATH" in found:
        found["PATH"] += ":/usr/local/bin:/usr/bin:/bin"
    for index in names:
        found |= values.get(index, {})
    return found


_SUPPLIED: Mapping[str, str] = {
    "PATH": "bin",
    "LD_LIBRARY_PATH": "lib",
    "LIBRARY_PATH": "lib",
    "CPATH": "include",
    "PKG_CONFIG_PATH": "pkgconfig",
}

#: Does the same when the app runs, for builds whose last buildpack does not do it itself.
SUPPLIED_PROFILE = """\
for dep in "$DEPS_DIR"/*; do
  [ -d "$dep/bin" ] && export PATH="$dep/bin:$PATH"
  [ -d "$dep/lib" ] && export LD_LIBRARY_PATH="$dep/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
unset dep
"""
