"""Print how the settings flow from the file to writer, processors and features: `daedalus config flow`."""

import sys

from daedalus.cli.config import app

if __name__ == "__main__":
    app(["flow", *sys.argv[1:]], prog_name="test_config_flow.py")
