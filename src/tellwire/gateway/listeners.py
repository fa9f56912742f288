"""The sockets of several workers at one address: one for each on Linux, where the kernel spreads new connections evenly
over them; elsewhere one for all.

The supervisor keeps them, so connections that were not accepted yet wait for the worker that takes the place of a dead
one. Who ends twice in a row gets a new one: on the old one connections would wait for nobody.
"""

import contextlib
import socket
import sys

from tellwire.server.server import address_of, authority_of, listen


class Listeners:
    """The sockets, bound. Whoever accepts makes them listen.

    Raises:
        ConfigError: the address is in use, or not one of this machine.
    """

    def __init__(self, host: str, port: int) -> None:
        self._is_spread = sys.platform == "linux"
        if self._is_spread and port:
            # Another gateway with workers would share the port with us, and nobody would notice.
            listen(host, port).close()
        # It holds the port, and takes no connections: it does not listen.
        self._holder = listen(host, port, shares_port=self._is_spread)
        self._host = host
        self._port = address_of(self._holder)[1]
        self._of_worker: dict[int, socket.socket] = {}

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return authority_of(*address_of(self._holder))

    def of(self, worker: int) -> socket.socket:
        """Return the socket of a worker."""
        if not self._is_spread:
            return self._holder
        if worker not in self._of_worker:
            self._of_worker[worker] = listen(self._host, self._port, shares_port=True)
        return self._of_worker[worker]

    def give_up(self, worker: int) -> None:
        """Close the socket of a worker that cannot take its connections; the others get the new ones."""
        with contextlib.suppress(KeyError):
            self._of_worker.pop(worker).close()

    def close(self) -> None:
        """Close all that this process holds. Those that workers hold stay open until they end."""
        for worker in list(self._of_worker):
            self.give_up(worker)
        self._holder.close()
