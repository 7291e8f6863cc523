"""Silver and trades to gold: `python scripts/etl/run_bars.py --durations 1,60`. The same as `daedalus bars`."""

import typer

from daedalus.cli.bars import bars
from daedalus.cli.main import run

if __name__ == "__main__":
    run(lambda: typer.run(bars))
