"""nautilus_trader's Parquet catalog over the rows of a file, in the peers' environment: a line of JSON.

Its objects are made before the clock starts: only its own writing and reading are measured.
"""

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from nautilus_trader.model.data import BookOrder, OrderBookDelta
from nautilus_trader.model.enums import BookAction, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog

SIDES = {"bid": OrderSide.BUY, "ask": OrderSide.SELL}
PRECISION = 8


def deltas(path: Path) -> dict[str, list[OrderBookDelta]]:
    """Read rows (collected_at, symbol, timestamp, side, price, size) as the catalog's own objects, by market."""
    found: dict[str, list[OrderBookDelta]] = {}
    for row in pq.read_table(path).to_pylist():
        size = Quantity(row["size"], PRECISION)
        action = BookAction.UPDATE if row["size"] else BookAction.DELETE
        order = BookOrder(SIDES[row["side"]], Price(row["price"], PRECISION), size, 0)
        market = InstrumentId.from_str(f"{row['symbol']}.COINBASE")
        event_ns = (row["timestamp"] or row["collected_at"] // 1000) * 1000
        found.setdefault(row["symbol"], []).append(
            OrderBookDelta(market, action, order, 0, 0, event_ns, row["collected_at"])
        )
    return found


def main(path: Path, folder: Path) -> None:
    markets = deltas(path)
    catalog = ParquetDataCatalog(str(folder))
    started = time.process_time()
    for objects in markets.values():
        catalog.write_data(objects)
    written = time.process_time() - started
    started = time.process_time()
    rows = sum(len(catalog.query(OrderBookDelta, identifiers=[f"{market}.COINBASE"])) for market in markets)
    read = time.process_time() - started
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    print(json.dumps({"write_s": written, "read_s": read, "rows": rows, "bytes": size}))


main(Path(sys.argv[1]), Path(sys.argv[2]))
