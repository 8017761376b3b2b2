"""`fgbg serve`: the web interface on a port of this machine, until it is stopped."""

from __future__ import annotations

import errno
import logging
import re
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread

import uvicorn
from fastapi import FastAPI

from fgbg.errors import UserError
from fgbg.ship.load import describe_model, load_for_many
from fgbg.ship.matte import prepare_matting
from fgbg.ship.serve.app import LOCAL_HOSTS, make_app
from fgbg.ship.serve.connections import Connection, OncePerMinute
from fgbg.ship.serve.limits import Limits

LAST_ANSWERS = 8  # seconds that pending answers are given when the server is stopped: a container is killed after 10
HOST_NAME = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)
BACKLOG = 100  # connections that are accepted in one go, before any of them is closed as one too many


def serve(
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    refine: str = "",
    limits: Limits | None = None,
    hosts: tuple[str, ...] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C or SIGTERM; pending requests are still answered, as far as a few seconds suffice.

    Call it in the main thread.

    Args:
        name: The MODEL.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        device: Where to compute.
        refine: Steps that the answers go through, separated by commas.
        limits: What is accepted.
        hosts: Further host names that are accepted, such as a proxy's.
        say: Called with the lines to print.

    Raises:
        UserError: There is no such model, the port is taken, or a name is none.
    """
    _require_names(hosts)
    limits = limits or Limits()
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a broken form is reported to its sender, not here
    logging.getLogger("asyncio").addFilter(OncePerMinute("socket.accept() out of system resource"))
    model = load_for_many(name, photo_count=limits.computing, device=device, refine=refine)
    app = make_app(model, name, limits, hosts=(*LOCAL_HOSTS, host, *hosts))
    with _listen(host, port) as listener:
        # In the background: the start must not wait for it. A request for soft edges that comes earlier waits for the rest.
        Thread(target=prepare_matting, daemon=True).start()
        say(describe_model(name, model))
        say(f"page: {name_page(host, listener.getsockname()[1])}   stop it with Ctrl-C")
        server = make_server(app, limits)
        # Uvicorn raises the signal again once it has shut down, when the requests that it gives up are not yet told so.
        killer = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, killer)


def make_server(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """The web server, not yet running."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_level="warning",
            server_header=False,
            limit_concurrency=limits.connections,
            backlog=BACKLOG,
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
    )


def name_page(host: str, port: int) -> str:
    """The address to open in a browser on this machine.

    >>> name_page("0.0.0.0", 8000), name_page("::1", 8000)
    ('http://127.0.0.1:8000/', 'http://[::1]:8000/')
    """
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # a wildcard address cannot be opened
    return f"http://[{own}]:{port}/" if ":" in own else f"http://{own}:{port}/"


def _require_names(names: Sequence[str]) -> None:
    """Refuse what no browser would ask for, and what would let in every name."""
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise UserError(
                f"--names '{name}': must be a host name alone, without http:// and port, such as cut.example.org, "
                "*.example.org or [fd00::1]"
            )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # whoever reads the page's address may connect at once
    except OverflowError:
        listener.close()
        raise UserError(f"--port {port}: must be from 0 to 65535") from None
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: f"--port {port} is taken by another program: choose another, or 0 for any that is free",
            errno.EACCES: f"--port {port} may not be used without special rights: choose one from 1024 on",
        }
        raise UserError(reasons.get(error.errno or 0, f"--host {host}: {error.strerror or error}")) from None
    return listener
