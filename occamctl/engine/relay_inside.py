"""The far end of a relay: many connections to one port of this container's loopback, over standard input and output.

It is sent there as text (`python -ISc … PORT`), so it uses the standard library only. A message, in both directions:
the connection's number and a length, four bytes each, most significant first, and so many bytes; 0 bytes: closed.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading

PIECE = 1 << 16


def main(port: int) -> None:
    open_now: dict[int, socket.socket] = {}
    turn, newest = threading.Lock(), 0

    def tell(number: int, content: bytes) -> None:
        with turn:
            sys.stdout.buffer.write(struct.pack(">II", number, len(content)) + content)
            sys.stdout.buffer.flush()

    def back(number: int, there: socket.socket) -> None:
        try:
            while content := there.recv(PIECE):
                tell(number, content)
        except OSError:
            pass
        open_now.pop(number, None)
        there.close()
        tell(number, b"")

    def connected(number: int) -> socket.socket | None:
        try:
            there = socket.create_connection(("127.0.0.1", port), 10)
        except OSError:
            tell(number, b"")
            return None
        there.settimeout(None)
        open_now[number] = there
        threading.Thread(target=back, args=(number, there), daemon=True).start()
        return there

    read = sys.stdin.buffer.read
    while len(head := read(8)) == 8:
        number, length = struct.unpack(">II", head)
        content = read(length)
        known = open_now.get(number)
        if number > newest and content:  # numbers rise: a lower one that is not open was closed at this end
            newest, known = number, connected(number)
        try:
            if known and content:
                known.sendall(content)
            elif known:
                known.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed at the other end, whose thread says so
            continue
    os._exit(0)  # threads that still read have nobody to tell


if __name__ == "__main__":
    main(int(sys.argv[1]))
