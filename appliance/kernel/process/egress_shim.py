"""The proxy's end inside a sandbox: pipes 127.0.0.1:PORT to the socket that is bound there.

Run as ``python -I -S egress_shim.py SOCKET PORT PROGRAM …``, it leaves a process of its own
behind, which nobody has to wait for and which ends with the sandbox, and becomes the program.
Nothing but the standard library, and little of it: it delays the start of every build.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress

CHUNK = 64 * 1024  # bytes
STACK = 256 * 1024  # bytes of each thread, which count as the build's memory
WAITING = 128  # connections not yet accepted


def main(argv: list[str]) -> None:
    """Listen, leave the shim behind, become the program."""
    path, port, *program = argv
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=WAITING)
    if not (child := os.fork()):
        # Twice: an orphan is collected by the sandbox's first process, not by the program,
        # which might wait for all its children.
        os.setsid()
        if not os.fork():
            serve(listener, path)
        os._exit(0)
    os.waitpid(child, 0)
    listener.close()
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


def serve(listener: socket.socket, path: str) -> None:
    """Pipe every connection, for ever."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)  # whoever reads the program's output waits for its last holder
    threading.stack_size(STACK)
    while True:
        inside, _ = listener.accept()
        outside = socket.socket(socket.AF_UNIX)
        try:
            outside.connect(path)
            for pair in ((inside, outside), (outside, inside)):
                threading.Thread(target=pump, args=pair, daemon=True).start()
        except (OSError, RuntimeError):  # the proxy has ended, or there is no room for a thread
            hang_up(inside)
            hang_up(outside)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until *source* ends, and tell *sink* so; an error ends both ways."""
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        hang_up(source)
        hang_up(sink)


def hang_up(sock: socket.socket) -> None:
    """End both directions, which wakes the thread that reads; closed when nobody uses it."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(sys.argv[1:])
