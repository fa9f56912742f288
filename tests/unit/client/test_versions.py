"""The versions of states. `test_traces.py` has the rules; here are the bounds."""

from tellwire.client.decode import ReceivedMessage
from tellwire.client.versions import MAX_KEYS, Versions


def state(version: int, key: str = "upload:u") -> ReceivedMessage:
    return ReceivedMessage("upload_progress", version, key=key, version=version)


def test_the_keys_that_are_quiet_for_longest_are_forgotten_first() -> None:
    versions = Versions()
    for number in range(MAX_KEYS + 1):
        assert versions.is_newer(state(5, f"upload:{number}"))
    assert not versions.is_newer(state(4, "upload:1"))
    assert versions.is_newer(state(4, "upload:0"))


def test_an_epoch_ends_when_another_begins() -> None:
    versions = Versions()
    versions.is_newer(state(5))
    assert not versions.begin("e")
    assert not versions.begin("e")
    versions.is_newer(state(5))
    assert versions.begin("f")
    assert versions.is_newer(state(1))
