"""The sockets of several workers at one address."""

import socket
import sys

import pytest

from tellwire.errors import ConfigError
from tellwire.gateway.listeners import Listeners
from tellwire.server.server import address_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over sockets")


@linux
def test_each_worker_has_a_socket_of_its_own_at_the_same_port() -> None:
    listeners = Listeners("127.0.0.1", 0)
    sockets = [listeners.of(number) for number in (1, 2, 3)]
    assert len({each.fileno() for each in sockets}) == 3
    assert len({address_of(each) for each in sockets}) == 1
    assert listeners.of(1) is sockets[0]
    assert listeners.authority == f"127.0.0.1:{address_of(sockets[0])[1]}"
    listeners.close()


@linux
def test_who_gives_up_its_socket_gets_another_one_and_its_connections_go_elsewhere() -> None:
    listeners = Listeners("127.0.0.1", 0)
    one, two = listeners.of(1), listeners.of(2)
    for each in (one, two):
        each.listen()
    listeners.give_up(1)
    for _ in range(20):
        with socket.create_connection(address_of(two), timeout=5):
            accepted, _ = two.accept()
            accepted.close()
    assert address_of(listeners.of(1)) == address_of(two)
    listeners.close()


@linux
def test_the_port_stays_taken_while_no_worker_has_a_socket() -> None:
    listeners = Listeners("127.0.0.1", 0)
    port = int(listeners.authority.rpartition(":")[2])
    listeners.give_up(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    listeners.close()
    listeners.close()


def test_a_port_at_which_somebody_listens_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            Listeners("127.0.0.1", port)


def test_where_the_kernel_does_not_spread_connections_all_share_one_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    listeners = Listeners("127.0.0.1", 0)
    assert listeners.of(1) is listeners.of(2)
    listeners.give_up(1)
    assert listeners.of(1).fileno() > 0
    listeners.close()
