"""A web application on a port until a signal or Ctrl-C, whatever its clients do; needs uvicorn."""

import contextlib
import errno
import functools
import json
import os
import resource
import signal
import socket

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ladagan_tf.errors import InputError, reason

REQUEST_S = 10.0  # for a whole request, from the connection or from the answer before
CONNECTIONS = 1000
WAITING = 2048  # connections that the system keeps until they are accepted
RESERVE = 64  # descriptors that connections leave to files, and to what is being accepted
BURST = 8  # connections accepted at once: each needs its descriptor before any can be refused


def listen(host, port):
    """An open socket to serve on.

    Args:
        host: str, a name or an address; of a name that has several addresses that of IPv4.
        port: int, 0 for a free one.

    Returns:
        socket.socket.

    Raises:
        InputError: if the host is none of this machine, or the port cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, *_, place = min(found, key=lambda one: one[0] != socket.AF_INET)
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # which `::` means
        return socket.create_server(place, family=family, backlog=WAITING, dualstack_ipv6=both)
    except (OSError, ValueError) as error:  # the latter of what no name can hold
        why = (getattr(error, "strerror", None) or reason(error)).partition(" (while")[0]
        code = getattr(error, "errno", errno.EADDRNOTAVAIL)
        if isinstance(error, socket.gaierror) or code == errno.EADDRNOTAVAIL:
            asked = "give a name or an address of this machine, or 0.0.0.0 for all of them"
            raise InputError(f"host={host!r}: {asked} ({why})") from None
        raise InputError(f"port={port}: {host} cannot be listened on ({why})") from None


def address(listener):
    """The URL of a listening socket, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def affordable_connections():
    """Connections that may be open at a time: `CONNECTIONS`, or what this process may still open.

    Without a descriptor to accept with, the event loop would log errors without end.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(1, min(CONNECTIONS, most - len(os.listdir("/dev/fd")) - RESERVE))


class PunctualProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 for clients that are slow, or many; uvicorn has no setting for either.

    A client has `REQUEST_S` seconds to send its request, and as long to take the rest of an answer.
    Where there are too many connections, the one that is waited for longest makes room.

    Args:
        awaited: dict that all connections of a server share; its keys are those whose request is
            not complete, the longest waiting first.
        most: int, connections at a time.
        answer_s: float, seconds from the end of a request to that of its answer; None: any time.
        on_malformed: function called for each request that is no HTTP, which reaches no
            application.
        **of_uvicorn: what uvicorn makes a protocol with.
    """

    def __init__(self, awaited, most, answer_s, on_malformed, **of_uvicorn):
        super().__init__(**of_uvicorn)
        self._awaited, self._most, self._answer_s = awaited, most, answer_s
        self._on_malformed = on_malformed
        self._deadline = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._await_request()
        if len(self.connections) > self._most:
            longest = next(iter(self._awaited))
            del self._awaited[longest]  # at once: it is lost only later, after others have come
            longest.transport.abort()

    def connection_lost(self, exc):
        self._awaited.pop(self, None)
        self._end_within(None)
        super().connection_lost(exc)

    def handle_events(self):
        super().handle_events()
        if self in self._awaited and self.conn.their_state in (h11.DONE, h11.MUST_CLOSE):
            del self._awaited[self]
            self._end_within(self._answer_s)

    def on_response_complete(self):
        self._await_request()
        super().on_response_complete()

    def send_400_response(self, msg):
        self._on_malformed()
        body = json.dumps({"detail": msg}).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    def _await_request(self):
        self._awaited.pop(self, None)
        self._awaited[self] = None
        self._end_within(REQUEST_S)

    def _end_within(self, seconds):
        if self._deadline:
            self._deadline.cancel()
        self._deadline = seconds and self.loop.call_later(seconds, self.transport.abort)


class Server(uvicorn.Server):
    """A server of one socket.

    Args:
        application: ASGI application.
        listener: see `listen`.
        answer_s, on_malformed: see `PunctualProtocol`.
        **options: of uvicorn.Config.
    """

    def __init__(self, application, listener, answer_s=None, on_malformed=lambda: None, **options):
        protocol = functools.partial(
            PunctualProtocol, {}, affordable_connections(), answer_s, on_malformed
        )
        # A warning is what a client does wrong: thousands of them would fill the disk.
        quiet = {"log_config": None, "log_level": "error", "access_log": False}
        options = {**quiet, "ws": "none", **options}
        super().__init__(uvicorn.Config(application, http=protocol, backlog=BURST, **options))
        self.listener = listener

    def run(self, sockets=None):
        super().run([self.listener])

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.listener.listen(
            WAITING
        )  # asyncio takes one number for what waits and what is accepted


def serve_until_stopped(application, listener, **options):
    """Answers requests until SIGTERM, SIGHUP or Ctrl-C, then finishes those that run.

    Args:
        application: ASGI application.
        listener: see `listen`.
        **options: of `Server`.
    """
    server = Server(application, listener, **options)
    # Uvicorn raises the signal again when everything is finished: that is success, not a death.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        # Uvicorn leaves it alone: whoever had it would raise within the event loop.
        signal.signal(signal.SIGHUP, server.handle_exit)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
