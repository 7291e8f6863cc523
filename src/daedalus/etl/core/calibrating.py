"""Calibrating the micro-price on a stretch of recorded books."""

import dataclasses

import numpy as np
import pyarrow as pa

from daedalus.etl.core.config import FilterSpec, InputConfig
from daedalus.etl.features.calibration import MicropriceCalibration
from daedalus.etl.features.chunks import BookChunk, book_chunk
from daedalus.etl.features.stoikov import calibrate_microprice
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import arrow_schema
from daedalus.storage.partitions import find_partitions, nothing_found
from daedalus.storage.segments import ReadStats, read_chunks

_CHANNEL = "orderbook"


def calibrate_from_lake(source: InputConfig, chosen: FilterSpec, tick_size: float) -> tuple[MicropriceCalibration, int]:
    """Return the table of the one market that the filter selects, and how many books it is from.

    Takes 32 bytes a book.

    Raises
    ------
    ConfigError
        If the filter selects nothing or several markets, or there is nothing to estimate from.
    """
    root = source.bronze(_CHANNEL)
    partitions = find_partitions(root, chosen)
    markets = sorted({(p.exchange, p.symbol) for p in partitions})
    if not markets:
        raise nothing_found(root, chosen)
    if len(markets) > 1:
        names = ", ".join(" ".join(market) for market in markets)
        raise ConfigError(f"a table is of one market, the filter selects {names}: give --exchange and --symbol")
    schema = pa.schema([arrow_schema(_CHANNEL).field(name) for name in ("collected_at", "bids", "asks")])
    tables = read_chunks((p.segments() for p in partitions), schema, ReadStats())
    touch = np.concatenate([_touch(book_chunk(table, 1)) for table in tables], axis=1)
    table = calibrate_microprice(touch[0], touch[1], touch[2], touch[3], tick_size)
    exchange, symbol = markets[0]
    return dataclasses.replace(table, exchange=exchange, symbol=symbol), touch.shape[1]


def _touch(book: BookChunk) -> np.ndarray:
    sides = (book.bid_price, book.bid_size, book.ask_price, book.ask_size)
    return np.stack([side[:, 0] for side in sides])
