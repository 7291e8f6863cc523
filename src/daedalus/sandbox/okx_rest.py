"""The REST calls of OKX v5 that clients make without a key: time, instruments, books."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from daedalus.sandbox.base import MarketSource, RestReply
from daedalus.sandbox.desk import BookDesk
from daedalus.sandbox.instruments import Instrument, InstrumentKind, instruments
from daedalus.sandbox.okx_messages import encode, levels
from daedalus.sandbox.updates import Recorded
from daedalus.shared.clock import parse_rfc3339_us

INST_TYPES: Mapping[InstrumentKind, str] = {"spot": "SPOT", "swap": "SWAP", "future": "FUTURES"}
_PREFIX = "/api/v5/"
_DEPTH_MAX = 400


def answer_get(path_qs: str, source: MarketSource, desk: BookDesk) -> RestReply | None:
    """Answer one call, None if there is no such call."""
    parts = urlsplit(path_qs)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    match parts.path.removeprefix(_PREFIX):
        case "public/time":
            return _ok([{"ts": str(_time_us(source) // 1000)}])
        case "public/instruments":
            return _instruments(query, source)
        case "market/books" | "market/books-full":
            return _books(query, source, desk)
        case "asset/currencies" if parts.path.startswith(_PREFIX):
            return _ok([])
    return None


def _ok(data: list[Any]) -> RestReply:
    return RestReply(encode({"code": "0", "msg": "", "data": data}))


def _refused(code: str, message: str) -> RestReply:
    return RestReply(encode({"code": code, "msg": message, "data": []}))


def _time_us(source: MarketSource) -> int:
    feed = source.open()
    feed.close()
    return feed.time_us


def _instruments(query: Mapping[str, str], source: MarketSource) -> RestReply:
    inst_type = query.get("instType", "")
    if inst_type not in (*INST_TYPES.values(), "MARGIN", "OPTION"):
        return _refused("51000", "Parameter instType error")
    wanted = query.get("instId")
    mine = [i for i in instruments(source).values() if INST_TYPES[i.kind] == inst_type]
    return _ok([_instrument(i) for i in mine if wanted in (None, i.product)])


def _instrument(instrument: Instrument) -> dict[str, str]:
    is_spot, is_inverse = instrument.kind == "spot", instrument.quote == "USD"
    contract = {"ctType": "", "ctVal": "", "ctMult": "", "ctValCcy": "", "settleCcy": "", "uly": "", "instFamily": ""}
    if not is_spot:
        pair = f"{instrument.base}-{instrument.quote}"
        value = ("100" if instrument.base == "BTC" else "10") if is_inverse else "0.01"
        currencies = (instrument.quote, instrument.base) if is_inverse else (instrument.base, instrument.quote)
        kind = "inverse" if is_inverse else "linear"
        contract = {
            "ctType": kind,
            "ctVal": value,
            "ctMult": "1",
            "ctValCcy": currencies[0],
            "settleCcy": currencies[1],
        }
        contract |= {"uly": pair, "instFamily": pair}
    return {
        "instType": INST_TYPES[instrument.kind],
        "instId": instrument.product,
        "baseCcy": instrument.base if is_spot else "",
        "quoteCcy": instrument.quote if is_spot else "",
        "category": "1",
        "alias": "this_week" if instrument.expiry else "",
        **contract,
        "expTime": _expiry(instrument.expiry),
        "lever": "10",
        "listTime": "1548133413000",
        "tickSz": instrument.price_step,
        "lotSz": instrument.size_step,
        "minSz": instrument.size_step,
        "maxLmtSz": "9999999999",
        "maxMktSz": "1000000",
        "optType": "",
        "stk": "",
        "state": "live",
    }


def _expiry(date: str) -> str:
    """Return the ms of a date ``yymmdd``, at 08:00 UTC, as text."""
    if not date:
        return ""
    micros = parse_rfc3339_us(f"20{date[:2]}-{date[2:4]}-{date[4:]}T08:00:00Z")
    return str((micros or 0) // 1000)


def _books(query: Mapping[str, str], source: MarketSource, desk: BookDesk) -> RestReply:
    product, depth = query.get("instId", ""), query.get("sz", "1")
    if product not in source.products:
        return _refused("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    if not depth.isdigit():
        return _refused("51000", "Parameter sz error")
    book = desk.answer(product, source)
    if book is None or isinstance(book, Recorded):
        return _refused("50011", f"the recording holds no book of {product} yet")
    count = min(int(depth), _DEPTH_MAX)
    sides = {"asks": levels(book.levels("ask", count)), "bids": levels(book.levels("bid", count))}
    return _ok([{**sides, "ts": str((book.time_us or 0) // 1000), "seqId": book.update_id}])
