"""The reader of Tardis' CSV data sets, on rows written by hand."""

import gzip

import pytest

from daedalus.recordings.base import Unreadable
from daedalus.recordings.tardis_csv import TardisLevels, TardisQuote, TardisTop, TardisTrade, read_tardis_csv
from daedalus.shared.errors import CorruptError, NotFoundError

L2 = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
QUOTES = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
TOPS = "exchange,symbol,timestamp,local_timestamp," + ",".join(
    f"{side}[{n}].{part}" for n in range(25) for side in ("asks", "bids") for part in ("price", "amount")
)
HEAD = "deribit,BTC-PERPETUAL,1585699200245000,1585699200255588"


def read(tmp_path, header, *rows, zipped=False):
    text = "\n".join([header, *rows]) + "\n"
    path = tmp_path / ("a.csv.gz" if zipped else "a.csv")
    path.write_bytes(
        gzip.compress(text.encode("utf-8", "surrogateescape")) if zipped else text.encode("utf-8", "surrogateescape")
    )
    return list(read_tardis_csv(path))


@pytest.mark.parametrize("zipped", [False, True])
def test_changes_that_came_together_are_one_message(tmp_path, zipped):
    other = HEAD.replace("255588", "255589")
    rows = [
        f"{HEAD},true,bid,6425.5,100",
        f"{HEAD},true,ask,6426,20",
        f"{HEAD},false,ask,6426,0",
        f"{other},false,ask,1,1",
    ]
    first, second, third = read(tmp_path, L2, *rows, zipped=zipped)
    assert first == TardisLevels(
        line=1,
        received_ns=1585699200255588000,
        exchange="deribit",
        product="BTC-PERPETUAL",
        time_us=1585699200245000,
        is_snapshot=True,
        changes=(("bid", "6425.5", "100"), ("ask", "6426", "20")),
    )
    assert (second.line, second.is_snapshot, second.changes) == (3, False, (("ask", "6426", "0"),))
    assert third.received_ns == 1585699200255589000


def test_trades_quotes_and_tops(tmp_path):
    (trade, unknown) = read(tmp_path, TRADES, f"{HEAD},123,sell,6425.5,0.1", f"{HEAD},,unknown,6425.5,0.1")
    assert isinstance(trade, TardisTrade) and (trade.trade_id, trade.side) == ("123", "sell")
    assert (unknown.trade_id, unknown.side) == (None, None)
    (quote,) = read(tmp_path, QUOTES, f"{HEAD},1.5,6426,6425.5,")
    assert isinstance(quote, TardisQuote)
    assert (quote.ask_amount, quote.ask, quote.bid, quote.bid_amount) == ("1.5", "6426", "6425.5", None)
    (top,) = read(tmp_path, TOPS, HEAD + "," + ",".join(["6426,1,6425.5,2", "6427,3,6425,4", *["", "", "", ""] * 23]))
    assert isinstance(top, TardisTop)
    assert (top.asks, top.bids) == ((("6426", "1"), ("6427", "3")), (("6425.5", "2"), ("6425", "4")))


def test_a_time_that_only_repeats_the_receive_clock_was_not_sent(tmp_path):
    (trade,) = read(tmp_path, TRADES, f"{HEAD.replace('245000', '255588')},1,buy,1,1")
    assert (trade.time_us, trade.received_ns) == (None, 1585699200255588000)


@pytest.mark.parametrize(
    "bad",
    [
        f"{HEAD},true,bid,6425.5",
        f"{HEAD},true,bid,6425.5,1,2",
        f"{HEAD},true,hold,6425.5,1",
        f"{HEAD},maybe,bid,6425.5,1",
        f"{HEAD},true,bid,nan,1",
        f"{HEAD},true,bid,1,1e999",
        HEAD.replace("1585699200255588", "soon") + ",true,bid,1,1",
        HEAD.replace("BTC", "B\udcffC") + ",true,bid,1,1",
    ],
)
def test_a_bad_row_costs_itself_alone(tmp_path, bad):
    good = f"{HEAD},true,bid,6425.5,100"
    messages = read(tmp_path, L2, good, bad, good)
    assert [type(m) for m in messages if not isinstance(m, Unreadable)] == [TardisLevels]
    assert sum(len(m.changes) for m in messages if isinstance(m, TardisLevels)) == 2
    assert [m.line for m in messages if isinstance(m, Unreadable)] == [2]


@pytest.mark.parametrize(
    "header", ["", "a,b,c", L2.replace("price", "cost"), TRADES + ",more", TOPS.replace("[3].price", "[3].cost")]
)
def test_another_header_is_refused(tmp_path, header):
    with pytest.raises(CorruptError, match="not the header"):
        read(tmp_path, header, f"{HEAD},1,buy,1,1")


def test_a_missing_file_and_one_that_breaks_off(tmp_path):
    with pytest.raises(NotFoundError):
        list(read_tardis_csv(tmp_path / "none"))
    whole = gzip.compress("\n".join([TRADES, *[f"{HEAD},1,buy,1,1"] * 9000]).encode(), compresslevel=0)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    messages = []
    with pytest.raises(CorruptError, match="copy the file again"):
        for message in read_tardis_csv(tmp_path / "cut.gz"):
            messages.append(message)
    assert len(messages) > 1000
