"""Bronze tickers to silver: `python scripts/etl/run_ticker_features.py --symbol BTC-USD`.

The same as `daedalus features ticker`.
"""

import typer

from daedalus.cli.features import ticker
from daedalus.cli.main import run

if __name__ == "__main__":
    run(lambda: typer.run(ticker))
