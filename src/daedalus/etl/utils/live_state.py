"""What a live engine carries of one market, as a checkpoint of `StateManager`: the same artefact as that of the runs.

So a recorder can go on from where `daedalus features --state-path` stopped, and the other way round when the checkpoint
stands at the end of an hour.
"""

import datetime as dt
from pathlib import Path

from daedalus.etl.features.live import FeatureEngine, Market
from daedalus.etl.transforms import base
from daedalus.etl.transforms.fold import EngineFold
from daedalus.etl.utils.state_manager import StateManager
from daedalus.shared.errors import StateError

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def save_state(
    path: Path, engine: FeatureEngine, market: Market, *, began: dt.datetime, until: dt.datetime, rows: int
) -> None:
    """Add a checkpoint of a market; what was there before stays until the new one is whole.

    Parameters
    ----------
    path
        As for `StateManager`: a file that ends in ``.json``, or a folder of many.
    began, until
        The span of receive time of the events that were handed over, [began, until), UTC.
    rows
        Rows that came of them.

    Raises
    ------
    StateError
        If the engine has seen nothing of the market.
    """
    if market not in engine.states:
        raise StateError(f"the engine has seen nothing of {market.exchange} {market.symbol}: there is no state to save")
    fold = EngineFold(engine.features)
    fold.state = engine.states[market]
    if engine.features.table == "orderbook":
        last = (until - _EPOCH) // dt.timedelta(microseconds=1) * 1000 - 1
        fold.carried = {"received": [last], "pending": [last + 1] if market in engine.resets else []}
    place = (engine.features.table, base.Market(*market), engine.features.fingerprint)
    StateManager(path).commit(*place, fold.to_bytes(), began=began, until=until, rows=rows)


def load_state(path: Path, engine: FeatureEngine, market: Market) -> dt.datetime | None:
    """Let an engine go on from the newest checkpoint of a market.

    Returns up to which receive time it has seen events (hand over those from there on), None if there is no checkpoint.

    Raises
    ------
    StateError
        If it is damaged, or belongs to another market, table, configuration or version. The message says which.
    """
    found = StateManager(path).load(engine.features.table, base.Market(*market), engine.features.fingerprint)
    if found is None:
        return None
    fold = EngineFold(engine.features, found[1])
    engine.states[market] = fold.state
    engine.resets.discard(market)
    if fold.carried.get("pending"):
        engine.resets.add(market)
    return found[0].until
