"""Bronze order books to silver: `python scripts/etl/run_orderbook_features.py --symbol BTC-USD`.

The same as `daedalus features orderbook`.
"""

import typer

from daedalus.cli.features import orderbook
from daedalus.cli.main import run

if __name__ == "__main__":
    run(lambda: typer.run(orderbook))
