"""The bounds of a stream, as settings of a gateway and of functions on AWS."""

import pytest

from tellwire.config import Settings, load_settings
from tellwire.errors import ConfigError
from tellwire.retention import ENVIRONMENT_NAMES, Retention


def test_a_gateway_and_functions_have_the_same_defaults() -> None:
    assert Settings().retention == Retention() == Retention.from_environment({})


def test_each_bound_is_a_setting_of_both() -> None:
    given = {"max_age_seconds": 60.0, "max_messages": 10, "max_bytes": 200_000, "finished_keep_seconds": 0.0}
    environ = {ENVIRONMENT_NAMES[field]: str(value) for field, value in given.items()}
    assert Retention.from_environment(environ) == Retention(**given)  # type: ignore[arg-type]
    settings = load_settings({f"TELLWIRE_{name}": value for name, value in environ.items()})
    assert settings.retention == Retention(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HISTORY_MAX_AGE_SECONDS", "0"),
        ("HISTORY_MAX_MESSAGES", "many"),
        ("HISTORY_MAX_BYTES", "1000"),
        ("FINISHED_KEEP_SECONDS", "-1"),
    ],
)
def test_an_error_names_the_variable_the_value_and_the_allowed_ones(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: got '{value}'; allowed: "):
        Retention.from_environment({name: value})
