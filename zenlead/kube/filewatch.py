"""A file that is looked at every now and then, and read again once it has changed.

Knows when a file is another one. Refuses to know what is in it. The rules not to break: nobody hears of a
file that is being written, so it has to look the same twice; and a disk that hangs holds up nothing else, so
every look is made by a thread.

Why looking and not waiting to be told: a mounted ConfigMap changes by a symbolic link (``..data``) that is
swapped, which is a change of another name in another folder than the one that was opened.
Source: k8s.io/kubernetes pkg/volume/util AtomicWriter.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from zenlead.kube.supervise import alive, at_rest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# A kubelet brings a changed ConfigMap within a minute or so; two looks more are not felt.
LOOK_EVERY_S = 2.0

Stamp = tuple[int, ...]


class FileWatch:
    """Awaits ``read`` once when ``run`` begins, and again after each change of the file at ``path``."""

    def __init__(self, path: str, read: Callable[[], Awaitable[None]]) -> None:
        self._path = path
        self._read = read
        self._seen: Stamp | None = None  # at the last look; None before the first
        self._read_as: Stamp | None = None  # when it was read last

    def __repr__(self) -> str:
        state = "as read" if self._seen == self._read_as else "changing"
        return f"FileWatch({self._path} {state})"

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            at_rest()  # a disk that hangs is no reason to start a controller anew that works
            stamp = await asyncio.to_thread(stamp_of, self._path)
            if stamp == self._seen and stamp != self._read_as:
                self._read_as = stamp  # before it is read: what cannot be read is not tried again as it is
                await self._read()
            self._seen = stamp
            alive(LOOK_EVERY_S)
            await asyncio.sleep(LOOK_EVERY_S)


def stamp_of(path: str) -> Stamp:
    """What tells the file behind all links of ``path`` from what it was, or why it cannot be seen."""
    try:
        found = os.stat(path)
    except OSError as error:
        return (error.errno or 0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
