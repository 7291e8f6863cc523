"""Tickers by hand: each column of section 10, resets of windows, prints of funding, and what venues send."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from daedalus.etl.features.base import NULL_INT
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.derivatives import NOTHING, derivative
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.tickers import ticker_chunk
from daedalus.shared.errors import SchemaError
from tests.references.markets import Deal, Row, book, touch, trades
from tests.references.quotes import Quote, ticker_table, tickers

CONFIG = FeatureConfig(max_levels=3, horizons=(60,), feature_set="full")
FEATURES = FeatureSet(CONFIG, table="ticker")


def column(
    name: str, quotes: list[Quote], rows: list[Row] | None = None, deals: list[Deal] | None = None
) -> list[object]:
    given = (book(rows or [], 1), trades(deals or []), tickers(quotes))
    batch = FEATURES.to_arrow(FEATURES.apply(FEATURES.new_state(), *given)[1])
    values: list[object] = batch.column(name).to_pylist()
    return values


def test_what_one_ticker_says() -> None:
    rows = [touch(0.5, 99.0, 101.0)]
    full = Quote(1.0, last=102.0, high=110.0, low=90.0, mark=101.0, index=100.0, funding_rate=1e-4, funding_hours=4.0)
    assert column("basis_bps", [full]) == [pytest.approx(100.0)]
    assert column("premium_bps", [full], rows) == [0.0]
    assert column("last_vs_mid_bps", [full], rows) == [pytest.approx(200.0)]
    assert column("pos_in_24h_range", [full]) == [pytest.approx(0.6)]
    assert column("funding_annualised", [full]) == [pytest.approx(1e-4 * 365.25 * 6)]
    assert column("pos_in_24h_range", [Quote(1.0, last=5.0, high=5.0, low=5.0)]) == [None]
    assert column("premium_bps", [full]) == [None]


def test_spot_has_no_derivative_fields() -> None:
    quotes = [Quote(float(k), 99.0, 101.0, 100.0) for k in range(3)]
    for name in ("mark_price", "open_interest", "funding_annualised", "time_to_funding_s", "funding_z", "basis_z_300s"):
        assert column(name, quotes) == [None] * 3
    assert column("oi_price_quadrant_300s", quotes) == [None] * 3


def test_the_book_is_the_one_before_and_not_too_old() -> None:
    rows = [touch(1.0, 99.0, 101.0), touch(2.0, 199.0, 201.0)]
    quotes = [Quote(at, index=100.0) for at in (1.0, 1.5, 2.0, 302.0, 302.000001)]
    assert column("mid", quotes, rows) == [None, 100.0, 100.0, 200.0, None]


def test_a_book_that_comes_later_is_not_seen() -> None:
    rows = [Row(1.0, [(99.0, 1.0)], [(101.0, 1.0)], delay=5.0)]
    quotes = [Quote(2.0, index=100.0), Quote(7.0, index=100.0)]
    assert column("mid", quotes, rows) == [None, 100.0]


def test_time_to_funding_is_never_negative() -> None:
    assert column("time_to_funding_s", [Quote(10.5, next_at=12), Quote(13.0, next_at=12)]) == [1.5, 0.0]


def test_open_interest_is_compared_with_that_at_the_windows_start() -> None:
    quotes = [Quote(0.0, open_interest=100.0), Quote(30.0, open_interest=150.0), Quote(60.0, open_interest=80.0)]
    quotes += [Quote(89.0, open_interest=None), Quote(90.0, open_interest=300.0)]
    assert column("oi_change_60s", quotes) == [None, None, -20.0, None, 150.0]
    assert column("oi_change_pct_60s", quotes)[4] == 1.0


def test_the_quadrant_has_the_signs_of_interest_and_price() -> None:
    rows = [touch(0.0, 99.0, 101.0), touch(300.5, 98.0, 100.0), touch(301.5, 101.0, 103.0), touch(302.5, 99.0, 101.0)]
    quotes = [Quote(0.5, open_interest=10.0)]
    quotes += [Quote(t, open_interest=o) for t, o in ((301.0, 12.0), (302.0, 8.0), (303.0, 10.0))]
    assert column("oi_price_quadrant_300s", quotes, rows) == [None, 2 - 1, -2 + 1, 0]


def test_the_basis_is_scored_against_the_rows_before() -> None:
    quotes = [Quote(float(k), mark=100.0 + m, index=100.0) for k, m in enumerate((1.0, 2.0, 4.0))]
    scores = column("basis_z_300s", quotes)
    assert scores[:2] == [None, None]
    assert scores[2] == pytest.approx((400.0 - 150.0) / math.sqrt(5000.0))


def test_funding_is_scored_against_the_prints_before_its_own() -> None:
    rates = ((1e-4, 600), (1e-4, 600), (3e-4, 1200), (3e-4, 1200), (2e-4, 1800), (2e-4, 2400), (None, 2400))
    scores = column("funding_z", [Quote(float(k), funding_rate=r, next_at=n) for k, (r, n) in enumerate(rates)])
    assert scores[:4] == [None] * 4
    assert scores[4] == pytest.approx(0.0, abs=1e-9)
    mean, deviation = np.mean([1e-4, 3e-4, 2e-4]), np.std([1e-4, 3e-4, 2e-4], ddof=1)
    assert scores[5] == pytest.approx((2e-4 - mean) / deviation, abs=1e-9)
    assert scores[6] is None


def test_ninety_prints_count() -> None:
    rates = [float(k) for k in range(120)]
    scores = column("funding_z", [Quote(k * 0.5, funding_rate=r) for k, r in enumerate(rates)])
    past = np.array(rates[119 - 90 : 119])
    assert scores[119] == pytest.approx((119 - past.mean()) / past.std(ddof=1))


def test_the_share_of_the_days_volume() -> None:
    deals = [Deal(1.0, 2.0, 1, 100.0), Deal(61.0, 1.0, -1, 50.0), Deal(62.0, 1.0, -1, 50.0)]
    quotes = [Quote(t, quote_volume=86400.0) for t in (1.0, 61.0)]
    assert column("volume_24h_share_60s", quotes, None, deals) == [pytest.approx(200 / 60), pytest.approx(50 / 60)]
    assert column("volume_24h_share_60s", [Quote(1.0)], None, deals) == [None]


@pytest.mark.parametrize(
    ("exchange", "text", "wanted"),
    [
        (
            "binanceusdm",
            '{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":"11784.63","P":"11784.26",'
            '"r":"0.00038167","T":1562306400000}',
            (11794.15, 11784.63, math.nan, 0.00038167, 8.0, 1562306400000 * 10**6),
        ),
        ("binance", '{"u":1,"s":"BTCUSDT","b":"1","p":"5"}', NOTHING),
        (
            "okx",
            '{"instId":"BTC-USDT-SWAP","fundingRate":"0.0001","fundingTime":"1700726400000",'
            '"nextFundingTime":"1700740800000","markPx":"2","idxPx":"","oiCcy":"7"}',
            (2.0, math.nan, 7.0, 0.0001, 4.0, 1700726400000 * 10**6),
        ),
        (
            "bybit",
            '{"markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761","fundingRate":"-0.000212",'
            '"nextFundingTime":"1673280000000","fundingIntervalHour":"1"}',
            (17217.33, 17227.36, 68744.761, -0.000212, 1.0, 1673280000000 * 10**6),
        ),
        (
            "krakenfutures",
            '{"feed":"ticker","funding_rate":-6.2e-11,"relative_funding_rate":2.18e-7,"index":28002.0,'
            '"next_funding_rate_time":1680811200000,"openInterest":28875946,"markPrice":28002.5}',
            (28002.5, 28002.0, 28875946.0, 2.18e-7, 1.0, 1680811200000 * 10**6),
        ),
        ("coinbase", '{"markPrice":"1"}', NOTHING),
        ("bybit", "not json", NOTHING),
        ("bybit", "[1]", NOTHING),
        ("bybit", None, NOTHING),
        ("bybit", '{"markPrice":"","openInterest":true,"indexPrice":"NaN","nextFundingTime":"0"}', NOTHING),
    ],
)
def test_what_venues_send(exchange: str, text: str | None, wanted: tuple[float, ...]) -> None:
    np.testing.assert_array_equal(np.array(derivative(exchange, text)[:-1]), np.array(wanted[:-1]))
    assert derivative(exchange, text).next_funding_ts == wanted[-1]


def test_a_table_without_the_venues_fields_is_enough() -> None:
    table = ticker_table([Quote(1.0, 1.0, 2.0, mark=3.0)])
    chunk = ticker_chunk(table.drop_columns(["info_json", "exchange"]))
    assert chunk.next_funding_ts.tolist() == [NULL_INT]
    with pytest.raises(SchemaError, match="no column 'exchange'"):
        ticker_chunk(table.drop_columns(["exchange"]))
    with pytest.raises(SchemaError, match="no column 'bid'"):
        ticker_chunk(table.drop_columns(["bid"]))
    wild = table.set_column(table.schema.get_field_index("last"), "last", pa.array([math.inf]))
    assert math.isnan(ticker_chunk(wild).values[0, 2])
