"""`daedalus demo`: the main job end to end, on a local exchange, with the embedded defaults."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

PRODUCTS = "BTC-USD,ETH-USD,SOL-USD"
#: Book changes a second and product: a busy market, so that a minute has something to show.
RATE = 60
MARKER = ".daedalus-demo"
#: How long the local exchange may take to listen, seconds.
READY_S = 20.0


def demo(
    seconds: Annotated[float, typer.Option(min=5, help="How long to record, wall time.")] = 60.0,
    out: Annotated[Path, typer.Option(help="Where it all goes; an earlier demo there is replaced.")] = Path(
        "data/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the synthetic market.")] = 7,
) -> None:
    """Record a local synthetic market over the Coinbase protocol, compute features and bars, draw pictures.

    Starts `daedalus sandbox serve`, records it with `daedalus ingest`, then runs `daedalus features orderbook` and
    `daedalus bars`. Everything is the real thing; only the exchange is on this machine.

    Example: daedalus demo --seconds 20
    """
    import time

    started = time.monotonic()
    _clear(out)
    with _exchange(out, seed, seconds) as (url, stats_url):
        _step(1, f"a local exchange listens at {url}: {PRODUCTS}, synthetic market, seed {seed}, real time")
        _step(2, f"recording for {seconds:g} s of wall time")
        _run(*_ingest(out, url, seconds))
        sent = _fetch(stats_url)
    _step(3, "features: bronze to silver (the first run compiles kernels, which takes a while)")
    _run("features", "orderbook", "--base-dir", str(out))
    _step(4, "bars: silver and trades to gold")
    _run("bars", "--base-dir", str(out), "--durations", "1,5,15,60")
    _step(5, "pictures and summary")
    from daedalus.cli.demo_report import pictures, summary

    drawn = pictures(out, PRODUCTS.split(","))
    typer.echo(summary(out, sent))
    typer.echo("\npictures: " + ", ".join(str(path) for path in drawn))
    typer.echo(f"the whole took {time.monotonic() - started:.0f} s")


def _step(number: int, text: str) -> None:
    typer.secho(f"[{number}/5] {text}", bold=True)


def _clear(out: Path) -> None:
    """Make room for a new demo, without ever removing what a demo did not make."""
    import shutil

    from daedalus.shared.errors import ConfigError

    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise ConfigError(f"{out} holds something that is no demo: choose another directory with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).write_text("Made by `daedalus demo`, which replaces this directory each time.\n")


def _command(*arguments: str) -> list[str]:
    import sys

    return [sys.executable, "-m", "daedalus.cli.main", *arguments]


def _run(*arguments: str) -> None:
    """Run a command of ours; its failure is ours."""
    import subprocess

    code = subprocess.run(_command(*arguments), check=False).returncode
    if code:
        raise typer.Exit(code)


def _ingest(out: Path, url: str, seconds: float) -> list[str]:
    settings = {
        "coinbase.symbols": f"[{PRODUCTS}]",
        "coinbase.ws_url": url,
        "coinbase.orderbook_interval_ms": "100",
    }
    flags = [flag for key, value in settings.items() for flag in ("--set", f"{key}={value}")]
    ends = ["--duration", str(seconds), "--stats-interval", str(max(5.0, seconds / 4))]
    return ["ingest", "--sources", "coinbase", "--base-dir", str(out), *flags, *ends]


@contextlib.contextmanager
def _exchange(out: Path, seed: int, seconds: float) -> Iterator[tuple[str, str]]:
    """Run the local exchange in a process of its own; yield its websocket and statistics addresses."""
    import json
    import subprocess
    import time

    from daedalus.shared.errors import StorageError

    ready = out / "exchange.json"
    process = subprocess.Popen(
        _command(
            *("sandbox", "serve", "--protocol", "coinbase", "--products", PRODUCTS, "--seed", str(seed), "--port", "0"),
            *("--rate", str(RATE)),
            *("--ready-file", str(ready), "--duration", str(seconds + 60)),
        ),
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + READY_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StorageError("the local exchange did not start; try `daedalus sandbox serve` to see why")
            time.sleep(0.05)
        url = json.loads(ready.read_text())["url"]
        yield url, url.replace("ws://", "http://").rstrip("/") + "/stats"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        ready.unlink(missing_ok=True)


def _fetch(url: str) -> dict[str, Any]:
    import json
    import urllib.request

    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process on this machine
        found: dict[str, Any] = json.load(answer)
    return found
