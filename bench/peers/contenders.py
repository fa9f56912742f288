"""Contenders: peers in the configurations that are measured, such as a peer with and without its history."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.peers.catalogue import PEERS
from bench.peers.peer import Feature, Options, Peer

_ONE_NODE = ("tellwire-sqlite", "tellwire-fast")
_PLAIN = Options()
_INSTALLED = Path(__file__).parent.parent / ".build" / "peers"


@dataclass(frozen=True, slots=True)
class Contender:
    """A peer with its options. `needs_redis`: it gets one of its own, on the load's core."""

    key: str
    label: str
    peer: Peer
    options: Options = _PLAIN
    needs_redis: bool = False

    @property
    def features(self) -> frozenset[Feature]:
        """Return the abilities in this configuration."""
        has_history = self.options.history or self.is_ours
        return self.peer.features if has_history else self.peer.features - {Feature.HISTORY}

    @property
    def is_for_history(self) -> bool:
        """Return True if it differs from another contender in nothing but its history."""
        return self.options.history or self.peer.name == "tellwire-sqlite"

    @property
    def is_for_fan_out(self) -> bool:
        """Return True if it differs from another contender in nothing but its fan-out."""
        return self.peer.name == "tellwire-fast"

    @property
    def is_for_redis(self) -> bool:
        """Return True if it differs from another contender in nothing but its Redis."""
        return self.needs_redis and Feature.REDIS not in self.features

    @property
    def is_ours(self) -> bool:
        return self.peer.name.startswith("tellwire")

    @property
    def install_folder(self) -> Path:
        return _INSTALLED / self.peer.name

    def on(self, nodes: int, redis_url: str) -> "Contender":
        """Return it on so many nodes."""
        return replace(self, options=replace(self.options, nodes=nodes, redis_url=redis_url))


def install(names: Sequence[str] | None) -> tuple[list[Contender], dict[str, str]]:
    """Install the peers of these names, or all. Return their contenders, and why the others are left out."""
    found: list[Contender] = []
    left_out: dict[str, str] = {}
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        folder = _INSTALLED / peer.name
        folder.mkdir(parents=True, exist_ok=True)
        reason = peer.install(folder)
        if reason is None:
            found += _configurations(peer)
        else:
            left_out[peer.name] = reason
    return found, left_out


def _configurations(peer: Peer) -> Iterator[Contender]:
    label = peer.label()
    if Feature.REDIS in peer.features:
        yield Contender(peer.name, label, peer, needs_redis=True)
        return
    yield Contender(peer.name, label, peer)
    if Feature.HISTORY in peer.features and not peer.name.startswith("tellwire"):
        yield Contender(f"{peer.name}-history", f"{label}, history", peer, Options(history=True))
    if Feature.NODES in peer.features and peer.name not in _ONE_NODE:
        title = label.replace(", memory", "")
        yield Contender(f"{peer.name}-redis", f"{title}, Redis", peer, Options(history=True), needs_redis=True)
