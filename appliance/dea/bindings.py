"""Bound services as files: in the place of VCAP_SERVICES, for apps that ask for it. Pure.

Sources: the service binding specification of Kubernetes (a folder for each binding, a file for
each value), and the app features of Cloud Foundry's V3 API, whose names and limits these are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from appliance.dea.errors import BindingsUnusable
from appliance.dea.messages import Start
from appliance.kernel.vcap import compact, services_by_label

FOLDER = "service-bindings"  # in the instance's folder
VCAP_FILE = "vcap_services"
MOST = 1_000_000  # bytes of all names and texts
_NAME = re.compile(r"[a-z0-9\-.]{1,253}")
_FILE = re.compile(r"[a-z0-9\-._]{1,253}")


def binding_files(order: Start) -> dict[str, str]:
    """The files below `FOLDER` that *order* asks for: text by path.

    Raises:
      BindingsUnusable: a binding has a name that no file can have, or they are too large.
    """
    if order.services_as == "file":
        files = {VCAP_FILE: compact(services_by_label(order.services))}
    elif order.services_as == "folders":
        files = {}
        for service in order.services:
            name = str(service.get("binding_name") or service.get("name") or "")
            if not _NAME.fullmatch(name) or name.strip(".") == "":
                raise BindingsUnusable(f"Invalid binding name: '{name}'")
            if any(path.startswith(f"{name}/") for path in files):
                raise BindingsUnusable(f"Duplicate binding name: {name}")
            files |= _folder(name, service)
    else:
        return {}
    size = sum(len(path.encode()) + len(text.encode()) for path, text in files.items())
    if size > MOST:
        raise BindingsUnusable(f"Bindings exceed the maximum allowed bytesize of {MOST}: {size}")
    return files


def _folder(name: str, service: Mapping[str, Any]) -> dict[str, str]:
    """A file for each credential, then for all else that is told of the service."""
    [told] = services_by_label([service]).values()
    values = dict(told[0])
    credentials = values.pop("credentials", None) or {}
    label = values.get("label")
    files = {}
    for key, value in {**credentials, **values, "type": label, "provider": label}.items():
        if not _FILE.fullmatch(key) or key.strip(".") == "":
            raise BindingsUnusable(f"Invalid file name: {key}")
        if value is not None and value not in ([], {}):
            files[f"{name}/{key}"] = value if isinstance(value, str) else compact(value)
    return files


def told_of_services(order: Start, home: str) -> dict[str, str]:
    """The variable that tells a program of its services, or where to read of them."""
    if order.services_as == "file":
        return {"VCAP_SERVICES_FILE_PATH": f"{home}/{FOLDER}/{VCAP_FILE}"}
    if order.services_as == "folders":
        return {"SERVICE_BINDING_ROOT": f"{home}/{FOLDER}"}
    return {"VCAP_SERVICES": compact(services_by_label(order.services))}
