"""The REST calls of Binance that clients make: ping, time, exchangeInfo, depth; of spot and of both futures markets."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from daedalus.sandbox.base import MarketSource, RestReply
from daedalus.sandbox.binance_frames import Market
from daedalus.sandbox.binance_messages import encode, text
from daedalus.sandbox.desk import BookDesk
from daedalus.sandbox.instruments import Instrument, bare_name, instruments
from daedalus.sandbox.updates import Level, Recorded

#: Paths by ccxt's names of the interfaces.
REST_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "public": "/api/v3",
        "private": "/api/v3",
        "v3": "/api/v3",
        "fapiPublic": "/fapi/v1",
        "dapiPublic": "/dapi/v1",
        "sapi": "/sapi/v1",
    }
)
_MARKETS: Mapping[str, Market] = MappingProxyType({"/api/v3/": "spot", "/fapi/v1/": "usdm", "/dapi/v1/": "coinm"})
#: Levels per side if the client does not say, and at most.
DEPTH_DEFAULT, DEPTH_MAX = 100, 5000
_PERPETUAL_MS = 4_133_404_800_000


def answer_get(path_qs: str, source: MarketSource, desk: BookDesk) -> RestReply | None:
    """Answer one call, None if there is no such call."""
    parts = urlsplit(path_qs)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path == "/sapi/v1/capital/config/getall":
        return _ok([])
    prefix = next((prefix for prefix in _MARKETS if parts.path.startswith(prefix)), None)
    if prefix is None:
        return None
    market, call = _MARKETS[prefix], parts.path.removeprefix(prefix)
    match call:
        case "ping":
            return _ok({})
        case "time":
            return _ok({"serverTime": _time_ms(source)})
        case "exchangeInfo":
            return _ok(_exchange_info(source, market))
        case "depth":
            return _depth(query, source, market, desk)
    return None


def _ok(data: Any) -> RestReply:
    return RestReply(encode(data))


def _refused(code: int, message: str, status: int = 400) -> RestReply:
    return RestReply(encode({"code": code, "msg": message}), status)


def _time_ms(source: MarketSource) -> int:
    feed = source.open()
    feed.close()
    return feed.time_us // 1000


def _of_market(source: MarketSource, market: Market) -> list[Instrument]:
    return [i for i in instruments(source).values() if _is_of(i.product, market)]


def _is_of(product: str, market: Market) -> bool:
    return (product.partition(".")[2] or "spot") == market


# The book


def _depth(query: Mapping[str, str], source: MarketSource, market: Market, desk: BookDesk) -> RestReply:
    if "symbol" not in query:
        return _refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    mine = [product for product in source.products if _is_of(product, market)]
    product = next((product for product in mine if bare_name(product) == query["symbol"]), None)
    limit = query.get("limit", str(DEPTH_DEFAULT))
    if product is None:
        return _refused(-1121, "Invalid symbol.")
    if not limit.isdigit() or not int(limit):
        return _refused(-1100, "Illegal characters found in parameter 'limit'.")
    book = desk.answer(product, source)
    if book is None:
        return _refused(-1000, f"the recording holds no answer to a call for the depth of {query['symbol']}", 503)
    depth = min(int(limit), DEPTH_MAX)
    if isinstance(book, Recorded):
        return _recorded(book, depth)
    time_ms = (book.time_us or 0) // 1000
    times = {} if market == "spot" else {"E": time_ms, "T": time_ms}
    return _ok(
        {"lastUpdateId": book.update_id, **times, **_sides(book.levels("bid", depth), book.levels("ask", depth))}
    )


def _recorded(answer: Recorded, depth: int) -> RestReply:
    """Return a recorded answer as it is, or less of it if the client wants less."""
    (book,) = answer.meaning(answer)
    bids, asks = book.bids, book.asks  # type: ignore[union-attr]
    if max(len(bids), len(asks)) <= depth:
        return RestReply(answer.text)
    return _ok({"lastUpdateId": book.update_id, **_sides(bids[:depth], asks[:depth])})  # type: ignore[union-attr]


def _sides(bids: Sequence[Level], asks: Sequence[Level]) -> dict[str, list[Level]]:
    return {"bids": [(text(p), text(s)) for p, s in bids], "asks": [(text(p), text(s)) for p, s in asks]}


# What trades


def _exchange_info(source: MarketSource, market: Market) -> dict[str, Any]:
    describe = _spot if market == "spot" else _future
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
    return {
        "timezone": "UTC",
        "serverTime": _time_ms(source),
        "rateLimits": [limit],
        "exchangeFilters": [],
        "symbols": [describe(instrument) for instrument in _of_market(source, market)],
    }


def _filters(instrument: Instrument) -> list[dict[str, str]]:
    price, size = instrument.price_step, instrument.size_step
    return [
        {"filterType": "PRICE_FILTER", "minPrice": price, "maxPrice": "1000000.00", "tickSize": price},
        {"filterType": "LOT_SIZE", "minQty": size, "maxQty": "9000.00000000", "stepSize": size},
    ]


def _spot(instrument: Instrument) -> dict[str, Any]:
    notional = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"}
    return {
        "symbol": bare_name(instrument.product),
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [*_filters(instrument), notional],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }


def _future(instrument: Instrument) -> dict[str, Any]:
    is_linear = instrument.product.endswith(".usdm")
    inverse = {"contractStatus": "TRADING", "contractSize": 100 if instrument.base == "BTC" else 10}
    return {
        "symbol": instrument.name,
        "pair": instrument.name.partition("_")[0],
        "contractType": "CURRENT_QUARTER" if instrument.expiry else "PERPETUAL",
        "deliveryDate": _PERPETUAL_MS,
        "onboardDate": 1_569_398_400_000,
        **({"status": "TRADING"} if is_linear else inverse),
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote if is_linear else instrument.base,
        "pricePrecision": instrument.price_decimals,
        "quantityPrecision": instrument.size_decimals,
        "filters": _filters(instrument),
    }
