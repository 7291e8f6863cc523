"""Record markets: `python scripts/run_ingestion.py --sources coinbase`. The same as `daedalus ingest`."""

import typer

from daedalus.cli.ingest import ingest
from daedalus.cli.main import run

if __name__ == "__main__":
    run(lambda: typer.run(ingest))
