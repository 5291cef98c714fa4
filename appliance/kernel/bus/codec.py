"""Messages of the wire: frozen structs in, JSON bytes out, and back."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from appliance.kernel.errors import BadRequest


class BusMessage(Protocol):
    """Its fields are the JSON of the wire, its subject is where it goes."""

    subject: ClassVar[str]


class Undecodable(BadRequest):
    """A message that is not the JSON its subject promises."""

    code = "undecodable-message"


T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(message: object) -> bytes:
    """*message* as compact JSON. Fields that are None are left out, as the originals do."""
    plain = msgspec.to_builtins(message)
    if isinstance(plain, dict):
        plain = {key: value for key, value in plain.items() if value is not None}
    return _encoder.encode(plain)


def decode(data: bytes, kind: type[T]) -> T:
    """The *kind* that *data* says; unknown fields are ignored, missing ones are errors.

    Raises:
      Undecodable: not JSON, a missing field, or a wrong type; the sentence names the field.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"Not a {kind.__name__}: {error}.") from error
