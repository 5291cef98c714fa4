"""What can go wrong with a service broker, as sentences. Pure."""

from __future__ import annotations

from fake_controller.errors import CloudError

QUOTED = 2**13  # bytes of a broker's own words; more are cut off
CUT = (
    "...This message has been truncated due to size. To read the full message, check the "
    "broker's logs"
)


class BrokerError(CloudError):
    """A broker refused, failed, or said something that is not in the specification.

    *orphan*: whether the broker may have made what was asked for, so that it must be told to
    delete it. Follows the table in "Orphan Mitigation" of the specification.
    """

    def __init__(
        self, title: str, detail: str, *, orphan: bool = False, http: int = 502, number: int = 10001
    ) -> None:
        super().__init__(http, number, f"CF-{title}", detail)
        self.orphan = orphan


class Concurrency(BrokerError):
    """The broker does something else with it at the moment."""

    def __init__(self) -> None:
        super().__init__(
            "ServiceBrokerConcurrencyError",
            "The service broker could not perform this operation in parallel with other "
            "running operations",
            http=422,
        )


def unreachable(why: str) -> BrokerError:
    """There was no connection."""
    text = f"The service broker could not be reached. {why}"
    return BrokerError("ServiceBrokerApiUnreachable", text)


def timed_out() -> BrokerError:
    """There was no answer in time."""
    text = "The request to the service broker timed out"
    return BrokerError("HttpClientTimeout", text, orphan=True, http=504)


def broken_off(why: str) -> BrokerError:
    """There was no answer, or none that was whole."""
    return BrokerError("HttpRequestError", f"The service broker did not answer. {why}", orphan=True)


def refused_in_time() -> BrokerError:
    """The broker itself says that the request took too long: it has not taken it."""
    text = "The request to the service broker timed out"
    return BrokerError("ServiceBrokerApiTimeout", text, http=504)


def unauthorized() -> BrokerError:
    """The broker does not know the credentials."""
    return BrokerError(
        "ServiceBrokerApiAuthenticationFailed",
        "Authentication with the service broker failed. Double-check that the username and "
        "password are correct.",
    )


def malformed(why: str, *, orphan: bool = False) -> BrokerError:
    """The status is one of the specification, the body is not."""
    return BrokerError(
        "ServiceBrokerResponseMalformed",
        quoted(f"The service broker returned an invalid response: {why}"),
        orphan=orphan,
    )


def quoted(text: str) -> str:
    """*text*, which quotes a broker, in a length that can be shown."""
    data = text.encode()
    return text if len(data) <= 2 * QUOTED else data[:QUOTED].decode("utf-8", "ignore") + CUT
