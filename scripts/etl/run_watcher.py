"""Bronze to silver as segments appear: `python scripts/etl/run_watcher.py --base-dir data`.

The same as `daedalus watch`.
"""

import typer

from daedalus.cli.main import run
from daedalus.cli.watch import watch

if __name__ == "__main__":
    run(lambda: typer.run(watch))
