"""Both ends of the connections on the data path: ``python -m benchmarks.connects serve|dial``.

``serve`` answers each connection on port 8080 with the address that it was made to, so that one process plays
all pods. ``dial`` reads lines ``address port`` and opens one connection after the other to the last; it
prints a line ``time answer`` whenever another one answers (or nobody, then ``-``). The time is that of
perf_counter at the end of the connection; all processes of a Linux machine have the same.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

PORT = 8080  # of the pods' containers
PAUSE_S = 0.001  # between two connections
TIMEOUT_S = 1.0
ABORT = struct.pack("ii", 1, 0)  # close by reset: a thousand connections a second must not use up the ports


def serve() -> None:
    with socket.create_server(("", PORT), backlog=1024) as listening:
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(connection.getsockname()[0].encode())


def dial() -> None:
    target: tuple[str, int] | None = None
    last = ""
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], PAUSE_S)
        if readable:
            line = sys.stdin.readline()
            if not line:
                return
            address, port = line.split()
            target, last = (address, int(port)), ""
        if target is not None:
            answer = _answer(target)
            if answer != last:
                last = answer
                print(time.perf_counter(), answer, flush=True)


def _answer(target: tuple[str, int]) -> str:
    try:
        with socket.create_connection(target, TIMEOUT_S) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            return connection.recv(64).decode() or "-"
    except OSError:
        return "-"


if __name__ == "__main__":
    {"serve": serve, "dial": dial}[sys.argv[1]]()
