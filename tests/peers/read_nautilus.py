"""Load an exported catalog with nautilus_trader, rebuild the book, and print what is in it.

Run as ``python read_nautilus.py FOLDER`` by an interpreter that has nautilus_trader.
"""

import json
import sys

from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import OrderBookDelta, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookType
from nautilus_trader.persistence.catalog import ParquetDataCatalog

catalog = ParquetDataCatalog(sys.argv[1])
(instrument,) = catalog.instruments()
book = OrderBook(instrument.id, BookType.L2_MBP)
deltas = catalog.query(OrderBookDelta, identifiers=[str(instrument.id)])
for delta in deltas:
    book.apply_delta(delta)
trades = catalog.query(TradeTick, identifiers=[str(instrument.id)])
sums = {side.name: 0.0 for side in AggressorSide}
for trade in trades:
    sums[trade.aggressor_side.name] += float(trade.size)
print(
    json.dumps(
        {
            "instrument": str(instrument.id),
            "steps": [str(instrument.price_increment), str(instrument.size_increment)],
            "deltas": len(deltas),
            "trades": len(trades),
            "sums": sums,
            "bids": [[str(level.price), level.size()] for level in book.bids()[:5]],
            "asks": [[str(level.price), level.size()] for level in book.asks()[:5]],
            "last": [trades[-1].ts_event, trades[-1].ts_init, str(trades[-1].trade_id)] if trades else [],
        }
    )
)
