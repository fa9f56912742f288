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


def test_a_table_has_its_indexes() -> None:
    made = table("connections", "userId,connectionId;byConnection=connectionId; byAge = age:N, userId")
    assert {each["AttributeName"]: each["AttributeType"] for each in made["AttributeDefinitions"]} == {
        "userId": "S",
        "connectionId": "S",
        "age": "N",
    }
    assert [(each["IndexName"], len(each["KeySchema"])) for each in made["GlobalSecondaryIndexes"]] == [
        ("byConnection", 1),
        ("byAge", 2),
    ]
    assert "GlobalSecondaryIndexes" not in table("rooms", "room")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("a", "id"),
        ("rooms", "a,b,c"),
        ("rooms", "a:X"),
        ("rooms", "a,"),
        ("rooms", "a;"),
        ("rooms", "a;byB"),
        ("rooms", "a;x=b"),
        ("rooms", "a;byB=b,c,d"),
    ],
)
def test_a_table_of_another_form_is_refused(name: str, keys: str) -> None:
    with pytest.raises(ConfigError, match=r"--table: got .*; allowed: NAME=KEY or NAME=KEY,SORTKEY"):
        table(name, keys)
