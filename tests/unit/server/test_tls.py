"""The acceptor of TLS and plain connections, at its end. That it tells them apart is in test_tls of the local API."""

import asyncio
import gc
import socket
import ssl

import pytest

from tellwire.server.tls import TlsOrPlain


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_has_not_begun_is_closed_with_it(turns: int) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = TlsOrPlain(listener, asyncio.Protocol, tls, 8)
        with socket.create_connection(listener.getsockname()) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            acceptor.close()
            await acceptor.wait_closed()
            listener.close()
            client.settimeout(45)
            # An end, or a reset by a listener that had not accepted it.
            try:
                assert client.recv(1) == b""
            except ConnectionResetError:
                assert turns < 3
    # A socket that nobody closed would be told now.
    gc.collect()
