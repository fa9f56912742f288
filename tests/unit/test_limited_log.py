"""Log lines at a bounded rate."""

import logging

import pytest

from tellwire.limited_log import LINES, LimitedLog
from tellwire.testing import FakeClock

LOGGER = logging.getLogger("tellwire.tests")


async def test_lines_beyond_the_rate_are_counted_and_the_count_is_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    log = LimitedLog(LOGGER, logging.INFO, "refused connections", clock)
    with caplog.at_level(logging.INFO):
        for number in range(1000):
            log.write("refused %d", number)
        assert len(caplog.messages) == LINES.burst
        log.tell_left_out()
        assert len(caplog.messages) == LINES.burst
        await clock.advance(1)
        log.tell_left_out()
        assert caplog.messages[-1] == "refused connections: 980 more lines were left out"
        await clock.advance(60)
        log.tell_left_out()
        assert len(caplog.messages) == LINES.burst + 1


def test_lines_below_the_level_cost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitedLog(LOGGER, logging.INFO, "lines", FakeClock())
    with caplog.at_level(logging.WARNING, LOGGER.name):
        for _ in range(100):
            log.write("refused")
    assert log.left_out == 0
