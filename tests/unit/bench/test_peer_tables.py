"""Tables, targets and plots of `python -m bench peers`, from results that were not measured."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.figures import figure
from bench.peers import plots, tables, targets
from bench.peers.peer import Feature
from bench.peers.results import Results


def _results(**rates: float) -> Results:
    results = Results(
        {},
        {
            "tellwire": {"label": "tellwire 1, memory", "features": sorted(Feature)},
            "centrifugo": {"label": "Centrifugo 6", "features": sorted(Feature)},
            "ws": {"label": "ws <8>", "features": [Feature.EVERYBODY]},
        },
        {},
        is_quick=False,
    )
    for scenario, by_key in {"one-4": rates}.items():
        results.scenarios[scenario] = {"title": "", "figures": {}, "failures": {}}
        for key, value in by_key.items():
            results.scenarios[scenario]["figures"][key] = {
                "rate": _as_saved(value),
            }
    return results


def _as_saved(value: float) -> dict[str, object]:
    each = figure("rate", "1/s", [0.7 * value, value, value])
    return {"value": each.value, "low": each.low, "high": each.high, "rounds": list(each.rounds), "details": {}}


def test_the_best_of_a_column_is_bold_whoever_it_is() -> None:
    lines = tables.markdown(_results(tellwire=5_000, centrifugo=16_000), "rates").splitlines()
    row = {line.split("|")[1].strip(): line for line in lines}
    assert "**16,000 ± 15%**" in row["Centrifugo 6"]
    assert "5,000" in row["**tellwire 1, memory**"]
    assert "**5,000" not in row["**tellwire 1, memory**"]


def test_a_rate_that_the_load_has_limited_is_marked() -> None:
    results = _results(tellwire=5_000)
    results.scenarios["one-4"]["figures"]["tellwire"]["rate"]["details"]["load_busy"] = 0.9
    assert "**≥ 5,000 ± 15%**" in tables.markdown(results, "rates")


def test_a_server_that_does_not_keep_the_pace_is_marked() -> None:
    results = _results()
    times = {"p50": _as_saved(900), "p99": _as_saved(1_200)}
    results.scenarios["pace-all"] = {"figures": {"tellwire": times, "ws": {"p50": _as_saved(9)}}}
    page = tables.markdown(results, "times")
    assert "900 † | **1,200 †** |" in page
    assert "| **9.00 ± 15%** |" in page


def test_a_contender_without_a_figure_has_no_row() -> None:
    assert "ws" not in tables.markdown(_results(tellwire=5_000), "rates")


def test_a_failed_contender_is_named_in_its_column() -> None:
    results = _results(tellwire=5_000)
    results.scenarios["one-4"]["failures"] = {"centrifugo": "3 of 4 deliveries"}
    assert "| Centrifugo 6 |" in tables.markdown(results, "rates")
    assert "failed" in tables.text(results, "rates")


def test_the_short_table_has_the_best_of_the_others() -> None:
    lines = tables.brief(_results(tellwire=5_000, centrifugo=16_000, ws=7_000)).splitlines()
    assert lines[2:] == ["| one message to one user, publishes/s | 5,000 | 16,000 | 7,000 (ws <8>) |"]


@pytest.mark.parametrize(("ours", "is_met"), [(16_000.0, True), (15_000.0, False)])
def test_a_target_is_a_ratio_of_the_same_run(ours: float, is_met: bool) -> None:
    (found,) = targets.figures(_results(tellwire=ours, centrifugo=16_000))
    assert found.value == pytest.approx(ours / 16_000)
    assert found.is_met is is_met


def test_a_target_without_both_figures_is_left_out() -> None:
    assert not list(targets.figures(_results(tellwire=5_000)))


def test_results_are_read_as_they_were_saved(tmp_path: Path) -> None:
    results = _results(tellwire=5_000, centrifugo=16_000)
    results.save(tmp_path / "peers.json")
    assert Results.read(tmp_path / "peers.json") == results


def test_a_plot_is_xml_with_the_best_first() -> None:
    (drawn,) = plots.svgs(_results(tellwire=5_000, centrifugo=16_000, ws=7_000)).values()
    words = [each.text for each in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert [word for word in words if word and not word[0].isdigit()][1:] == [
        "Centrifugo 6",
        "ws <8>",
        "tellwire 1, memory",
    ]
