"""API keys in a setting: names, scopes, and which are too weak."""

import pytest

from tellwire.api_keys import Scope, parse_api_keys, producer_key
from tellwire.errors import ConfigError

FIRST = "4f9a02c7e1b85d36"
SECOND = "8c21f05a9b7e3d64"


def test_a_key_alone_is_for_everything() -> None:
    (key,) = parse_api_keys(FIRST)
    assert (key.name, set(key.scopes), key.key) == ("default", set(Scope), FIRST)


@pytest.mark.parametrize(
    "text",
    [
        f"worker:publish:{FIRST} ops:publish+admin:{SECOND}",
        f"# for the workers\nworker:publish:{FIRST}\n\nops:publish+admin:{SECOND}\n",
        (f"worker:publish:{FIRST}", f"ops:publish+admin:{SECOND}"),
    ],
)
def test_several_have_names_and_scopes(text: str) -> None:
    worker, ops = parse_api_keys(text)
    assert (worker.name, set(worker.scopes), worker.key) == ("worker", {Scope.PUBLISH}, FIRST)
    assert (ops.name, set(ops.scopes), ops.key) == ("ops", {Scope.PUBLISH, Scope.ADMIN}, SECOND)


@pytest.mark.parametrize("key", ["a+b/c=d,e:f;g-h_i==", "x:y:z:0123456789ab", "https://0123456789:a"])
def test_a_key_may_have_any_printable_character(key: str) -> None:
    assert parse_api_keys(f"name:publish:{key}")[0].key == key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got no key"),
        (" \n# nothing\n", "got no key"),
        ("short", "default: got a weak key, with 5 characters, 5 of them different; allowed: at least 16"),
        ("a" * 40, "with 40 characters, 1 of them different"),
        ("passwordpass", "weak"),
        ("0101010101010101010101", "weak"),
        (f"worker:publish:{FIRST} worker:admin:{SECOND}", "two keys of the name worker"),
        (f"{FIRST} {SECOND}", "two keys of the name default"),
        (f"worker:write:{FIRST}", "worker: got another scope; allowed: publish or admin"),
        ("worker:publish:ключ-ключ-ключ-ключ", "other characters"),
    ],
)
def test_other_keys_are_refused_without_being_quoted(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_api_keys(text)
    assert words in str(caught.value)
    assert FIRST not in str(caught.value)
    assert "ключ" not in str(caught.value)


def test_a_producer_may_share_the_gateways_environment() -> None:
    assert producer_key(f"ops:admin:{SECOND} worker:publish:{FIRST}") == FIRST
    assert producer_key("k") == "k"
    with pytest.raises(ConfigError, match="no key for publishing"):
        producer_key(f"ops:admin:{SECOND}")


def test_a_key_is_not_in_its_repr() -> None:
    assert FIRST not in repr(parse_api_keys(FIRST))
