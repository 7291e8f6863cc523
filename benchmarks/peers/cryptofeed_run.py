"""cryptofeed's own Coinbase handler over frames of a file, in the peers' environment: a line of JSON.

Its callback takes nothing (`books`), or the top 20 levels and the changes as numbers, as its backends do (`rows`).
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any


async def main(first: str, frames: list[str], takes_rows: bool) -> None:
    from cryptofeed.defines import L2_BOOK
    from cryptofeed.exchanges import Coinbase
    from cryptofeed.symbols import Symbols

    Symbols.set("COINBASE", {"BTC-USD": "BTC-USD"}, {"tick_size": {"BTC-USD": "0.01"}, "instrument_type": {}})

    async def seen(book: Any, received: float) -> None:
        if takes_rows:
            book.to_dict(numeric_type=float)
            book.to_dict(delta=True, numeric_type=float)

    keys = {"coinbase": {"key_id": "none", "key_secret": "none"}}
    feed = Coinbase(symbols=["BTC-USD"], channels=[L2_BOOK], callbacks={L2_BOOK: seen}, config=keys, max_depth=20)
    await feed.message_handler(first, None, time.time())
    started = time.process_time()
    for frame in frames:
        await feed.message_handler(frame, None, time.time())
    took = time.process_time() - started
    print(json.dumps({"cpu_s": took, "frames": len(frames)}))


lines = Path(sys.argv[1]).read_text().splitlines()
asyncio.run(main(lines[0], lines[1:], sys.argv[2] == "rows"))
