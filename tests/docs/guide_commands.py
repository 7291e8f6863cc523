"""The commands of README and docs/: which there are, what stands in for what is not here, which are not run and why."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

#: Patterns of whole commands that no test runs, each with its reason.
NOT_HERE = {
    r"sudo (apt|systemctl) .*": "changes the machine",
    r"journalctl .*": "needs systemd and what it has logged",
    r"git (clone|pull).*|cd daedalus": "fetches your copy",
    r"make (setup|test)": "a test run begins with it",
    r"make demo": "takes long; .ci/run does it before the tests",
    r"nano .*": "is an editor; tests choose by environment variables",
    r"dask .*|daedalus .* --engine dask .*": "takes several machines; tests/end_to_end/test_dask.py runs all on one",
    r"openssl .*|export .*|for .*|done": "makes certificates of such a cluster",
}
#: Commands that another test runs in as many processes, each with that test.
ELSEWHERE = {
    r"daedalus run --(only|set metrics.port=).*": "tests/end_to_end/test_operations.py",
    r"daedalus .* --workers .*": "tests/end_to_end/test_stateful_etl.py",
    r"daedalus ingest --sources coinbase": "tests/end_to_end/test_ingest.py",
    r"daedalus ingest --sources ccxt,coinbase.*": "tests/end_to_end/test_ccxt.py",
    r"daedalus watch --input s3:.*": "tests/end_to_end/test_watch_store.py",
}
#: What commands say, and what tests put in its place: a free port, a folder or a bucket of their own.
INSTEAD = {
    r"^(sudo )?\.venv/bin/(?=daedalus|python)": "",
    r"(?<=\bpython )(?=scripts/)": f"{ROOT}/",
    r"^(daedalus service install)(?!.*--dry-run)": r"\1 --folder units",
    r"s3://my-lake\b": "s3://lake/{prefix}",
    r"\b8765\b": "{port}",
    r"\b9464\b": "{metrics_port}",
    r" FILES ": " spot_btcusdt_20250619.gz ",
}
#: Commands that go on until Ctrl-C, and how a test tells that they are at work: see `tests.end_to_end.terminal`.
ENDLESS = {
    r"daedalus (run|ingest)\b": "records",
    r"daedalus watch (?!.*--once)": "watches",
    r"daedalus sandbox serve\b": "speaks",
    r"daedalus status .*--watch": "speaks",
    r"daedalus sync .*--mode continuous": "syncs",
}


def pages() -> list[Path]:
    """Return README and the guides that have commands."""
    every = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in every if any(commands(page.read_text()))]


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a page's blocks of shell, without what is said of them."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            for part in re.split(r"\s&&\s", line):
                if words := shlex.split(part, comments=True):
                    yield shlex.join(words)


def reason_not_here(command: str) -> str | None:
    """Return why a command is not run, or which other test does; None if it is to be run."""
    plain = command.removeprefix(".venv/bin/")
    return next((why for pattern, why in (NOT_HERE | ELSEWHERE).items() if re.fullmatch(pattern, plain)), None)


def as_run(command: str, values: dict[str, str]) -> str:
    """Return a command as a test runs it.

    Examples
    --------
    >>> as_run("daedalus sandbox serve --port 8765", {"port": "4711"})
    'daedalus sandbox serve --port 4711'
    """
    for pattern, text in INSTEAD.items():
        command = re.sub(pattern, text, command)
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), command)


def sign_of_life(command: str) -> str | None:
    """Return how to tell that an endless command is at work; None for one that ends by itself."""
    return next((sign for pattern, sign in ENDLESS.items() if re.match(pattern, command)), None)
