"""The reader of Coinbase Exchange sessions, on rows written by hand and on a real session."""

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from daedalus.recordings.base import Book, Changes, Control, Match, Message, Unreadable
from daedalus.recordings.registry import FORMATS, reader
from daedalus.shared.errors import ConfigError, CorruptError, NotFoundError

HEADER = (
    "_id,asks,bids,changes,channels,maker_order_id,message,price,product_id,reason,sequence,side,size,"
    "taker_order_id,time,trade_id,type"
)
SNAPSHOT = (
    "5ad545e5e3ae712cb8091acb,\"[['101', '2'], ['102.50', '1']]\",\"[['99.9', '0.5']]\",,,,,,X-USD,,,,,,,,snapshot"
)
UPDATE = (
    "5ad545e5e3ae712cb8091acf,,,\"[['buy', '99.90000000', '0']]\",,,,,X-USD,,,,,,2018-04-17T00:55:04.358Z,,l2update"
)
MATCH = "5ad545e5e3ae712cb8091ad0,,,,,m,,101.00000000,X-USD,,7.0,sell,0.10,t,2018-04-17T00:55:05.045000Z,41.0,match"
LAST = MATCH.replace(",match", ",last_match").replace("41.0", "40.0")
ERROR = "5ad545e5e3ae712cb8091ace,,,,,,Failed to unsubscribe,,,because,,,,,,,error"
BAD_LIST = UPDATE.replace("[['buy', '99.90000000', '0']]", "__import__('os').getcwd()")
BAD_SIDE = UPDATE.replace("'buy'", "'hold'")
BAD_PRICE = UPDATE.replace("'99.90000000'", "'1e400'")


def read(tmp_path: Path, *rows: str, zipped: bool = False) -> list[Message]:
    path = tmp_path / "session.csv"
    text = "\n".join([HEADER, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return list(reader("coinbase-exchange")(path))


def test_every_kind_of_row_in_order(tmp_path: Path) -> None:
    book, last, error, update, match = read(tmp_path, SNAPSHOT, LAST, ERROR, UPDATE, MATCH)
    received = 0x5AD545E5 * 10**9
    assert book == Book(
        line=1, received_ns=received, product="X-USD", bids=(("99.9", "0.5"),), asks=(("101", "2"), ("102.50", "1"))
    )
    assert isinstance(last, Match)
    assert (last.is_past, last.trade_id) == (True, "40")
    assert isinstance(error, Control)
    assert (error.type, error.text) == ("error", "Failed to unsubscribe because")
    assert update == Changes(
        line=4,
        received_ns=received,
        product="X-USD",
        changes=(("bid", "99.90000000", "0"),),
        time_us=1_523_926_504_358_000,
    )
    assert isinstance(match, Match)
    assert (match.maker_side, match.price, match.size) == ("sell", "101.00000000", "0.10")
    assert (match.time_us, match.is_past) == (1_523_926_505_045_000, False)


def test_gzip_and_plain_text_read_alike(tmp_path: Path) -> None:
    assert read(tmp_path, SNAPSHOT, UPDATE, zipped=True) == read(tmp_path, SNAPSHOT, UPDATE)


@pytest.mark.parametrize("bad", [BAD_LIST, BAD_SIDE, BAD_PRICE, "zz,,,,,,,,,,,,,,,,l2update", MATCH + ",surplus,cells"])
def test_a_bad_row_costs_itself_alone(tmp_path: Path, bad: str) -> None:
    first, middle, last = read(tmp_path, UPDATE, bad, MATCH)
    assert isinstance(first, Changes)
    assert isinstance(last, Match)
    if "surplus" in bad:
        assert isinstance(middle, Match)  # more cells than columns do no harm
    else:
        assert isinstance(middle, Unreadable)
        assert middle.line == 2


def test_a_missing_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.csv"):
        list(reader("coinbase-exchange")(tmp_path / "nothing.csv"))


def test_another_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CorruptError, match="no column _id"):
        list(reader("coinbase-exchange")(path))


def test_a_file_that_breaks_off_yields_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    whole = gzip.compress("\n".join([HEADER, *[UPDATE] * 5000]).encode(), compresslevel=0)
    path.write_bytes(whole[: len(whole) // 2])
    messages = []
    with pytest.raises(CorruptError, match="copy the file again"):
        for message in reader("coinbase-exchange")(path):
            messages.append(message)
    assert len(messages) > 1000


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean coinbase-exchange"):
        reader("coinbase_exchange")
    assert set(FORMATS) == {"coinbase-exchange"}


def test_the_real_session(recordings: Path) -> None:
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/gdax_20180417"]
    (path,) = (recordings / "coinbase_exchange_l2_20180417").glob("*.csv.gz")
    messages = list(reader("coinbase-exchange")(path))
    kinds = Counter(type(m).__name__ for m in messages)
    live = [m for m in messages if isinstance(m, Match) and not m.is_past]
    assert len(messages) == golden["rows"]
    assert kinds == {"Book": 1, "Changes": golden["by_type"]["l2update"], "Match": len(live) + 1, "Control": 2}
    assert len(live) == golden["by_type"]["match"]
    assert sum(Decimal(m.size) for m in live) == Decimal(golden["match_qty"])
    ids = [int(m.trade_id) for m in messages if isinstance(m, Match)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
