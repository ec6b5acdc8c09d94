"""Clients that say half of it, take nothing or hang up take nothing from the others."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="fastapi is optional: the service is not tested")
pytest.importorskip("uvicorn", reason="uvicorn is optional: the service is not tested")
pytest.importorskip("fastapi_offline", reason="it is optional: the service is not tested")

from service_clients import SLOW_S, counters, get, half_open, serving

from ladagan_tf.serving import listening, service


def is_open(connection):
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


HEAD = b"POST /v1/generate HTTP/1.1\r\nhost: here\r\n"


@pytest.mark.parametrize("text", [b"", HEAD, HEAD + b"content-length: 9\r\n\r\n{"])
def test_half_open_clients_neither_fill_the_server_nor_stay(small, text, monkeypatch, caplog):
    monkeypatch.setattr(listening, "affordable_connections", lambda: 20)
    monkeypatch.setattr(listening, "REQUEST_S", 0.5)
    with serving(small) as address:
        held = list(half_open(address, 60, text))
        assert get(address, "/healthz")[0] == 200
        assert sum(map(is_open, held)) <= 20
        end = time.monotonic() + 10
        while any(map(is_open, held)):
            assert time.monotonic() < end, "half a request holds its connection"
            time.sleep(0.05)
        for connection in held:
            connection.close()
    assert not caplog.records


def test_who_hangs_up_within_a_body_made_no_mistake(small):
    name = 'ladagan_requests_total{path="/v1/generate",status="499"}'
    kind = b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{"
    with serving(small) as address:
        (client,) = half_open(address, 1, HEAD + kind)
        time.sleep(0.2)
        client.close()
        end = time.monotonic() + 10
        while name not in counters(address):
            assert time.monotonic() < end, "it is not counted as one that hung up"
            time.sleep(0.05)


def test_a_client_that_sends_bytes_now_and_then_has_no_more_time(small, monkeypatch):
    monkeypatch.setattr(listening, "REQUEST_S", 0.5)
    with serving(small) as address:
        (connection,) = half_open(address, 1, b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        start = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() < start + 10:
                connection.sendall(b"G")
                time.sleep(0.05)
        connection.close()


def test_a_client_that_does_not_take_its_answer_is_dropped(small, monkeypatch):
    monkeypatch.setattr(service, "TAKE_S", 0.5)
    with serving(small, timeout_s=0.1) as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((address.split(":")[0], int(address.split(":")[1])))
        path = b"/static-offline-docs/swagger-ui-bundle.js"
        many = 16  # more than the system keeps for a client
        client.sendall(many * (b"GET " + path + b" HTTP/1.1\r\nhost: here\r\n\r\n"))
        time.sleep(1.5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while part := client.recv(2**20):
                received += len(part)
        assert 0 < received < many * len(get(address, path.decode())[2])


def test_latents_that_take_long_to_draw_fill_the_queue_and_nothing_else(small, monkeypatch):
    drawing, drawn, asked = threading.Event(), threading.Event(), []

    def inputs(self, seeds, labels):
        asked.append(seeds[0])
        drawing.set()
        drawn.wait(30.0)
        return [np.zeros((len(seeds), self.noise_dim), np.float32)]

    with serving(small, max_batch=1, max_queue=9, timeout_s=20.0) as address:
        monkeypatch.setattr(type(small), "inputs", inputs)
        path = b"GET /v1/generate?truncation_z=0.01&seed=%d HTTP/1.1\r\nhost: here\r\n\r\n"
        clients = [*half_open(address, 1, path % 1)]
        assert drawing.wait(10.0)
        clients += half_open(address, 9, path % 2)
        while counters(address)["ladagan_queue_length"] < 9:
            time.sleep(0.01)
        assert get(address, "/v1/generate")[0] == 503
        for client in clients:
            client.close()
        while counters(address)["ladagan_queue_length"]:
            time.sleep(0.01)
        drawn.set()
        assert get(address, "/v1/generate?seed=3")[0] == 200
    assert asked == [1, 3]


def test_as_many_connections_are_taken_as_there_are_descriptors(monkeypatch):
    limits = listening.resource.RLIM_INFINITY, listening.resource.RLIM_INFINITY
    for most, expected in ((limits[0], 1000), (100_000, 1000), (10, 1)):
        monkeypatch.setattr(listening.resource, "getrlimit", lambda _, most=most: (most, most))
        assert listening.affordable_connections() == expected
    monkeypatch.setattr(listening.resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(listening.os, "listdir", lambda _: ["0"] * 50)
    assert listening.affordable_connections() == 256 - 50 - listening.RESERVE


def test_nothing_is_computed_for_clients_that_hung_up(slow):
    with serving(slow, max_batch=1) as address:
        before = counters(address)
        clients = list(half_open(address, 12, b"GET /v1/generate HTTP/1.1\r\nhost: here\r\n\r\n"))
        time.sleep(SLOW_S / 4)
        for client in clients:
            client.close()
        time.sleep(SLOW_S / 4)
        assert counters(address)["ladagan_queue_length"] == 0
        assert get(address, "/v1/generate")[0] == 200
        after = counters(address)
    assert after["ladagan_batches_total"] - before.get("ladagan_batches_total", 0) == 2
    assert after['ladagan_requests_total{path="/v1/generate",status="499"}'] == 12
