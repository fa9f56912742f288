"""The counts of the load's times, which C code fills and `Times` reads."""

import pytest

from bench.native import Times


def _times(**counts: int) -> Times:
    cells = [0] * 64 * 24
    for index, count in counts.items():
        cells[int(index[1:])] = count
    return Times(cells)


@pytest.mark.parametrize(
    ("cell", "milliseconds"), [(0, 0.0), (63, 0.063), (127, 0.127), (128, 0.128), (191, 0.254), (192, 0.256)]
)
def test_a_cell_stands_for_its_shortest_time(cell: int, milliseconds: float) -> None:
    assert _times(**{f"_{cell}": 5}).percentile(0.5) == pytest.approx(milliseconds)


def test_a_percentile_is_the_time_within_which_so_many_arrived() -> None:
    times = _times(_10=98, _100=1, _127=1)
    assert times.percentile(0.5) == pytest.approx(0.010)
    assert times.percentile(0.99) == pytest.approx(0.100)
    assert times.percentile(1.0) == pytest.approx(0.127)


def test_nothing_that_was_timed_took_no_time() -> None:
    assert _times().percentile(0.99) == 0.0
