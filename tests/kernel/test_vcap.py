"""What apps are told of their services, wherever it is asked."""

from __future__ import annotations

from appliance.kernel.vcap import services_by_label


def test_services_of_2012_are_grouped_by_label() -> None:
    """As VCAP_SERVICES has them."""
    one, two = {"label": "redis", "name": "a"}, {"name": "b"}
    assert services_by_label([one, two]) == {"redis": [one], "user-provided": [two]}
