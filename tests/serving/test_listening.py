"""A service listens where it is told, and says so as a browser takes it, or why it cannot."""

import errno
import socket

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is optional: the service is not tested")

from ladagan_tf.errors import InputError
from ladagan_tf.serving import listening


@pytest.mark.parametrize("host", ["", "a..b", "\udcff", "203.0.113.7"])
def test_a_host_that_is_not_of_this_machine_is_named(host):
    with pytest.raises(InputError, match=r"host=.*: give a name or an address of this machine"):
        listening.listen(host, 0)


def test_a_port_that_is_taken_or_not_allowed_is_named(monkeypatch):
    with listening.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"^port={port}: 127.0.0.1 .* \(Address already in"):
            listening.listen("127.0.0.1", port)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied (while attempting to bind)")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(InputError, match=r"^port=80: 127.0.0.1 .* \(Permission denied\)$"):
        listening.listen("127.0.0.1", 80)


@pytest.mark.parametrize(
    "host, places, at, url",
    [
        ("::1", ["::1"], "::1", "http://[::1]:8000"),
        ("localhost", ["::1", "127.0.0.1"], "127.0.0.1", "http://127.0.0.1:8000"),
    ],
)
def test_an_address_of_ipv6_is_listened_on_where_there_is_none_of_ipv4(
    monkeypatch, host, places, at, url
):
    class Listener(tuple):
        def getsockname(self):
            return self

    def family(place):
        return socket.AF_INET6 if ":" in place else socket.AF_INET

    found = [(family(p), socket.SOCK_STREAM, 6, "", (p, 8000)) for p in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_server", lambda place, **how: Listener((*place, how)))
    listener = listening.listen(host, 8000)
    assert listener[0] == at and listener[2]["family"] == family(at)
    assert listening.address(listener) == url
