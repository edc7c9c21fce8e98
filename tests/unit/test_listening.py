"""A server that ends while somebody connects says nothing of it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from zenlead.listening import end


async def test_who_is_accepted_while_it_ends_is_no_error() -> None:
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        listener = server.sockets[0].fileno()
        # The turn in which it is accepted is the one in which the server ends.
        accept = loop._selector.get_key(listener).data[0]  # type: ignore[attr-defined]
        accept._run()
        await end(server)
        await asyncio.sleep(0.05)
    assert errors == []
