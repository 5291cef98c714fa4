"""TLS on the listener: as nats-server's, it begins after INFO, on the same connection."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path

import trio

from appliance.kernel.errors import ConfigError

HANDSHAKE = 2.0  # seconds; nats-server's own default


def server_context(cert: Path, key: Path | None = None, ca: Path | None = None) -> ssl.SSLContext:
    """What connections are secured with; with *ca*, clients must show a certificate, too.

    Raises:
      ConfigError: a file is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def never() -> str:
        raise ValueError("OpenSSL would ask for a password at the terminal.")

    try:
        context.load_cert_chain(cert, key, password=never)
    except (OSError, ValueError) as error:  # SSLError is one, too
        rule = "must be a certificate and its key, without a password"
        raise ConfigError("nats.tls_cert", str(cert), rule) from error
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(ca)
        except OSError as error:
            rule = "must be a file with certificates"
            raise ConfigError("nats.tls_ca", str(ca), rule) from error
    return context


class SecureSocket:
    """A connected, non-blocking socket with TLS on it, as far as a carrier needs one.

    That TLS has to wait looks like a socket that has to: `BlockingIOError`.
    """

    def __init__(self, secured: ssl.SSLSocket) -> None:
        self._socket = secured

    def fileno(self) -> int:
        """For trio."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """Up to *size* bytes, which hold a whole record; b"" at the end."""
        try:
            return self._socket.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def send(self, data: memoryview) -> int:
        """How many bytes were taken; after `BlockingIOError` the same ones must come again."""
        try:
            return self._socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """Say goodbye, and send no more."""
        with suppress(OSError, ValueError):
            self._socket.unwrap()
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


async def secured(connected: socket.socket, context: ssl.SSLContext) -> SecureSocket:
    """*connected*, which is taken over, after the handshake.

    Raises:
      TooSlowError: the client did not do its part in `HANDSHAKE` seconds.
      OSError: it has hung up, or does not speak TLS.
    """
    wrapped = context.wrap_socket(connected, server_side=True, do_handshake_on_connect=False)
    try:
        with trio.fail_after(HANDSHAKE):
            while True:
                try:
                    wrapped.do_handshake()
                    return SecureSocket(wrapped)
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(wrapped)
                except ssl.SSLWantWriteError:
                    await trio.lowlevel.wait_writable(wrapped)
    except BaseException:
        trio.lowlevel.notify_closing(wrapped)
        wrapped.close()
        raise
