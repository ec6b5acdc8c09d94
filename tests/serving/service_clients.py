"""A service in this process, and clients that ask it: whole requests and half of them."""

import contextlib
import http.client
import socket
import threading
import time

from ladagan_tf.serving import listening, service
from ladagan_tf.serving.worker import Worker

SLOW_S = 1.0  # of the fixture `slow`


@contextlib.contextmanager
def serving(sampler, max_batch=8, max_queue=256, timeout_s=30.0):
    """host:port of the service in a thread of this process, which saves the start of another."""
    listener = listening.listen("127.0.0.1", 0)
    application = service.make_app(Worker(sampler, max_batch, max_queue), timeout_s)
    server = listening.Server(
        application,
        listener,
        answer_s=timeout_s + service.TAKE_S,
        on_malformed=application.state.on_malformed,
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listening.address(listener).removeprefix("http://")
    finally:
        server.should_exit = True
        thread.join()


JSON = {"content-type": "application/json"}


def get(address, path, method="GET", body=None, headers=JSON):
    """(status, headers, bytes) of one request; the headers it has with a body."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request(method, path, body, headers if body else {})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def counters(address):
    """Values of /metrics by name and labels."""
    lines = get(address, "/metrics")[2].decode().splitlines()
    rows = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def half_open(address, count, text=b""):
    """Connections over which nothing comes but `text`."""
    host, port = address.split(":")
    for _ in range(count):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(text)
        yield connection
