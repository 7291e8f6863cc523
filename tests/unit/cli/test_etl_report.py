"""What a run tells at its end, market by market."""

import json

from daedalus.cli.etl_report import report_json, summary
from daedalus.etl.core.report import Report, Tally
from daedalus.etl.transforms.base import Market
from daedalus.shared.errors import DaedalusError


def report_of(markets: int) -> Report:
    """Return what a run reports that computed markets, the last of which failed."""
    report = Report(rows_in=1200 * markets, rows_out=1200 * markets, seconds=2.0)
    for number in range(markets - 1):
        report.tallies[Market("kraken", f"C{number}-USD")] = Tally(24, 1200, 1200, seconds=0.25)
    report.add(Report.of_failure(Market("kraken", "BAD-USD"), DaedalusError("no")))
    return report


def test_each_market_has_a_line_and_the_whole_has_one() -> None:
    lines = summary("trades features", report_of(3)).splitlines()
    assert lines[:2] == [
        "trades features",
        "  exchange  symbol   hours  rows in  rows out  skipped  failed  seconds",
    ]
    assert lines[2:5] == [
        "  kraken    BAD-USD      0        0         0        0       1     0.00",
        "  kraken    C0-USD      24    1,200     1,200        0       0     0.25",
        "  kraken    C1-USD      24    1,200     1,200        0       0     0.25",
    ]
    assert lines[5].split("  ")[1] == "partitions" and "3,600" in lines[6] and len(lines) == 7


def test_many_markets_are_cut_where_nothing_is_wrong_and_machines_get_all() -> None:
    report = report_of(60)
    lines = summary("trades features", report).splitlines()
    assert "BAD-USD" in lines[2] and lines[22] == "  and 40 more, which --json names" and len(lines) == 25
    told = json.loads(report_json("trades features", report))["markets"]
    assert len(told) == 60 and told[-1]["symbol"] == "BAD-USD" and told[-1]["failed"] == 1
    assert told[0] == {
        "exchange": "kraken",
        "symbol": "C0-USD",
        "hours": 24,
        "rows_in": 1200,
        "rows_out": 1200,
        "skipped": 0,
        "failed": 0,
        "seconds": 0.25,
    }


def test_hours_of_a_market_that_several_runs_computed_add_up() -> None:
    market, report = Market("kraken", "BTC-USD"), Report()
    for hours in (7, 7, 3):
        report.add(Report(tallies={market: Tally(hours, 10 * hours, 10 * hours, seconds=0.5)}))
    assert report.tallies == {market: Tally(17, 170, 170, seconds=1.5)}
