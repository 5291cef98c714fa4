"""Hands out sockets of another network namespace, see `dialer`.

Run as ``python -I -S dialer_helper.py NET LINK``: NET is a descriptor of the namespace, LINK one
of a Unix socket, on which new sockets go out for each byte that comes in. A socket belongs to the
namespace it was made in, wherever it is connected.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import sys

AT_ONCE = 16  # sockets for one byte

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NS_GET_USERNS, NS_GET_OWNER_UID = 0xB701, 0xB704  # linux/nsfs.h


def enter(namespace: int) -> None:
    """Move this process to the network *namespace*, by way of its user namespace if it must be.

    Raises:
      OSError: the kernel does not let us.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def setns(descriptor: int, kind: int) -> bool:
        return int(libc.setns(descriptor, kind)) == 0

    if setns(namespace, CLONE_NEWNET):
        return  # as root
    owner = fcntl.ioctl(namespace, NS_GET_USERNS)
    uid = int.from_bytes(fcntl.ioctl(owner, NS_GET_OWNER_UID, bytes(4)), sys.byteorder)
    if os.geteuid() != uid:
        os.setresuid(uid, uid, uid)
    if not (setns(owner, CLONE_NEWUSER) and setns(namespace, CLONE_NEWNET)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(argv: list[str]) -> None:
    """Enter the namespace, say so, and serve until the other end of LINK is closed."""
    namespace, link = int(argv[0]), socket.socket(fileno=int(argv[1]))
    try:
        enter(namespace)
    except OSError as error:
        link.send((error.strerror or str(error)).encode())
        return
    os.close(namespace)
    link.send(b"ok")
    while link.recv(1):
        made = [socket.socket() for _ in range(AT_ONCE)]
        socket.send_fds(link, [b"s"], [each.fileno() for each in made])
        for each in made:
            each.close()


if __name__ == "__main__":
    main(sys.argv[1:])
