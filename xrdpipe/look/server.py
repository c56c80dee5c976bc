"""The server of a page: its socket, its token, and when it ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable

import uvicorn

from ..model.errors import ConfigError
from .routes import application
from .safety import Guard
from .session import Session
from .tabs import Tabs

HOST = "127.0.0.1"  # this computer alone


def serve(session: Session, port: int, tabs: Tabs, opened: Callable[[str, str], None]) -> None:
    """Serve the page of a session until its last tab is closed, the page ends it, or Ctrl-C.

    Parameters
    ----------
    session
        The session.
    port
        Port on this computer; 0 takes a free one.
    tabs
        Its tabs.
    opened
        Called once the page can be opened, with its address, and with one that is good for one visit.

    Raises
    ------
    ConfigError
        The port cannot be used.
    """
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        token, ticket = (secrets.token_urlsafe(32) for _ in range(2))
        app = Guard(application(session, tabs), port, token, ticket)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        addresses = [f"http://{HOST}:{port}/?token={secret}" for secret in (token, ticket)]
        asyncio.run(_serve(server, listener, tabs, lambda: opened(*addresses)))


async def _serve(server: uvicorn.Server, listener: socket.socket, tabs: Tabs, opened: Callable[[], None]) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]))
    said = False
    while not task.done():
        if server.started and not said:
            said = True
            await asyncio.to_thread(opened)
        if tabs.ended or tabs.left:
            tabs.end()
            server.should_exit = True
        if server.should_exit:
            tabs.end()
        await asyncio.sleep(0.1)
    await task


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere this would let another program take the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"port={port}: cannot be used ({reason}); leave it out to take a free one") from error
    return listener
