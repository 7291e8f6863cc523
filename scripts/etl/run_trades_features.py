"""Bronze trades to silver: `python scripts/etl/run_trades_features.py --symbol BTC-USD`.

The same as `daedalus features trades`.
"""

import typer

from daedalus.cli.features import trades
from daedalus.cli.main import run

if __name__ == "__main__":
    run(lambda: typer.run(trades))
