"""The end of a listening socket: nobody is accepted any more, and whoever was is known before it closes.

Knows asyncio's servers. Refuses to know what they serve. Why: a connection that is accepted in the very turn
of the loop in which its server closes attaches to it afterwards, and asyncio reports that as an error.
"""

from __future__ import annotations

import asyncio


async def end(server: asyncio.Server) -> None:
    """Close ``server``; connections that are open stay so."""
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    await asyncio.sleep(0)  # those just accepted get their transports
    server.close()
