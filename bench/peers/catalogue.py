"""The peers, in the order of the tables."""

from collections.abc import Sequence

from bench.peers import nchan, own_programs
from bench.peers.centrifugo import Centrifugo
from bench.peers.nats import Nats
from bench.peers.peer import Peer
from bench.peers.tellwire_peer import FastTellwire, Tellwire

PEERS: Sequence[Peer] = (
    Tellwire("tellwire", "memory"),
    Tellwire("tellwire-sqlite", "sqlite"),
    FastTellwire(),
    Centrifugo(),
    Nats(),
    *own_programs.PEERS,
    *nchan.PEERS,
)
