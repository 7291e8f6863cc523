"""The lake and another store: `python scripts/run_sync.py --mode once`. The same as `daedalus sync`."""

import typer

from daedalus.cli.main import run
from daedalus.cli.sync import sync

if __name__ == "__main__":
    run(lambda: typer.run(sync))
