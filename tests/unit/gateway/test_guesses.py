"""Wrong API keys, counted by address."""

from tellwire.gateway.guesses import Guesses


def test_an_address_has_a_burst_and_then_a_rate() -> None:
    guesses = Guesses(burst=3, per_second=0.5)
    for _ in range(3):
        assert guesses.may_try("192.0.2.1", 0.0)
        guesses.count("192.0.2.1", 0.0)
    assert not guesses.may_try("192.0.2.1", 1.9)
    assert guesses.may_try("192.0.2.1", 2.0)
    assert guesses.may_try("192.0.2.2", 0.0)


def test_only_the_first_one_in_some_time_is_worth_a_line() -> None:
    guesses = Guesses(burst=3, per_second=0.5)
    assert [guesses.count("192.0.2.1", at) for at in (0.0, 0.1, 0.2, 100.0, 100.1)] == [True, False, False, True, False]


def test_a_customers_ipv6_network_is_one_and_a_mapped_address_is_ipv4() -> None:
    guesses = Guesses(burst=1)
    guesses.count("2001:db8::1", 0.0)
    assert not guesses.may_try("2001:db8::2", 0.0)
    assert guesses.may_try("2001:db8:0:1::1", 0.0)
    guesses.count("::ffff:192.0.2.1", 0.0)
    assert not guesses.may_try("192.0.2.1", 0.0)


def test_its_memory_is_bounded() -> None:
    guesses = Guesses(max_addresses=100)
    for number in range(1000):
        guesses.count(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(guesses) == 100
