"""A web application on a port until SIGTERM or Ctrl-C; needs uvicorn."""

import contextlib
import signal
import socket

import uvicorn

from ladagan_tf.errors import InputError, reason


def listen(host, port, backlog=2048):
    """An open socket to serve on.

    Args:
        host: str, address.
        port: int, 0 for a free one.
        backlog: int, connections that may wait.

    Returns:
        socket.socket.

    Raises:
        InputError: if the port cannot be listened on.
    """
    try:
        return socket.create_server((host, port), backlog=backlog)
    except OSError as error:
        why = error.strerror or reason(error)
        raise InputError(f"port={port}: {host} cannot be listened on ({why})") from None


def address(listener):
    """The URL of a listening socket, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def serve_until_stopped(application, listener, **options):
    """Answers requests until SIGTERM or Ctrl-C, then finishes those that run.

    Args:
        application: ASGI application.
        listener: see `listen`.
        **options: of uvicorn.Config.
    """
    # Uvicorn raises the signal again when everything is finished: that is success, not a death.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", **options))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
