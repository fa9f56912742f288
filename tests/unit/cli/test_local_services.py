"""Services and tables of handlers given by name."""

import pytest

from tellwire.cli.local_services import table
from tellwire.errors import ConfigError


def test_a_table_has_its_keys_and_their_types() -> None:
    made = table("rooms", "room, at:N")
    assert made["AttributeDefinitions"] == [
        {"AttributeName": "room", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
    ]
    assert made["KeySchema"] == [
        {"AttributeName": "room", "KeyType": "HASH"},
        {"AttributeName": "at", "KeyType": "RANGE"},
    ]


@pytest.mark.parametrize(("name", "keys"), [("a", "id"), ("rooms", "a,b,c"), ("rooms", "a:X"), ("rooms", "a,")])
def test_a_table_of_another_form_is_refused(name: str, keys: str) -> None:
    with pytest.raises(ConfigError, match=r"--table: got .*; allowed: NAME=KEY or NAME=KEY,SORTKEY"):
        table(name, keys)
