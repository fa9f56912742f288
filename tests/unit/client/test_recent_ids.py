"""Deduplication by message id. `test_traces.py` has its rules; here are its bounds."""

from tellwire.client.recent_ids import MAX_IDS, RecentIds


def test_an_id_is_new_once_and_none_always_is() -> None:
    ids = RecentIds()
    assert [ids.add(each) for each in ("a", "b", "a", None, None)] == [True, True, False, True, True]


def test_the_oldest_ids_are_forgotten_first() -> None:
    ids = RecentIds()
    for number in range(MAX_IDS + 1):
        assert ids.add(str(number))
    assert not ids.add("1")
    assert ids.add("0")
