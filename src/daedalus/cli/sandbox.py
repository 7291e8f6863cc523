"""`daedalus sandbox`: a local exchange to record from, without keys, network or risk."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.sandbox.base import MarketSource
    from daedalus.sandbox.server import SandboxServer

app = typer.Typer(
    help="Run a local exchange: a synthetic market or a recording, a real wire protocol, faults on demand.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FAULT_HELP = (
    "NAME[@WHEN][xN][/PRODUCT][:ARG], repeatable. WHEN: 20 = 20 s after a connection's first message, 500f = at its "
    "500th frame, every=20 or every=500f = again and again; without it, at once. xN: only on the first N connections. "
    "/PRODUCT: only frames of that product. `daedalus sandbox faults` lists the names and what ARG is."
)


@app.command()
def serve(
    protocol: Annotated[str, typer.Option(help="What to speak: coinbase, binance, kraken or okx.")] = "coinbase",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")] = 8765,
    products: Annotated[
        str | None, typer.Option(help="Products of the synthetic market, by commas. Default: BTC-USD,ETH-USD,SOL-USD.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the synthetic market. Default: 1.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Book changes per market second and product, trades a tenth. Default: 20.")
    ] = None,
    speed: Annotated[str, typer.Option(help="Market seconds per wall second, or max: as fast as clients read.")] = "1",
    recording: Annotated[
        list[Path] | None, typer.Option(help="Play this file instead of a synthetic market. Several: one session.")
    ] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="Further files of the recorded session.")] = None,
    form: Annotated[str, typer.Option("--format", help="Format of the recording; auto reads its first line.")] = "auto",
    close_at_end: Annotated[bool, typer.Option("--close-at-end", help="Close when the recording has ended.")] = False,
    fault: Annotated[list[str] | None, typer.Option(help=FAULT_HELP)] = None,
    duration: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds; default: never.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help='Write {"url", "port"} as JSON here once it listens.')] = None,
) -> None:
    """Serve a market over websockets until Ctrl-C, SIGTERM or the duration's end. The first line is the address.

    Every connection sees the same synthetic market; its clock starts at the wall clock's time and runs --speed times
    as fast. A recording is played to each connection from its start, once it has subscribed; afterwards the connection
    stays open. GET /stats on the same port tells what was sent and which faults happened.

    Frames of Binance, OKX and Kraken go out as they were recorded to clients that speak the same protocol; other
    clients, and other recordings, are told what they say. REST calls that clients make on connecting are answered.

    Example: daedalus sandbox serve --port 8765 --products BTC-USD,ETH-USD --speed 10 --fault skip_sequence@every=30

    Example: daedalus sandbox serve --protocol binance --speed max --recording day1.gz day2.gz

    Exit codes: 0 stopped in order; 1 the recording cannot be read; 2 a flag is wrong or the port is in use.
    """
    import asyncio

    from daedalus.sandbox.server import SandboxServer

    given = _paths(recording)
    if files and not given:
        raise typer.BadParameter(f"{files[0]}: files of a recording come after --recording")
    source = build_source(_speed(speed), products, seed, rate, [*given, *(files or [])], form, protocol)
    server = SandboxServer(protocol, source, port=port, faults=fault or (), close_at_end=close_at_end)
    asyncio.run(_serve(server, duration, ready_file))
    typer.echo(summary(server))


@app.command()
def faults() -> None:
    """List the faults that --fault can name.

    Example: daedalus sandbox faults
    """
    from daedalus.sandbox.faults import FAULTS

    width = max(map(len, FAULTS))
    for name, kind in FAULTS.items():
        typer.echo(f"{name:{width}}  {kind.doc}")


def build_source(
    speed: float,
    products: str | None,
    seed: int | None,
    rate: float | None,
    recording: Path | Sequence[Path] | None,
    form: str,
    protocol: str = "coinbase",
) -> "MarketSource":
    """Build the market that the flags describe. Raises `ConfigError` for flags that do not go together."""
    from daedalus.shared.errors import ConfigError

    files = _paths(recording)
    if not files:
        from daedalus.sandbox.synthetic import DEFAULT_PRODUCTS, SyntheticSource

        names = DEFAULT_PRODUCTS if products is None else [name.strip() for name in products.split(",") if name.strip()]
        return SyntheticSource(
            names, seed=1 if seed is None else seed, speed=speed, rate=20.0 if rate is None else rate
        )
    given = {"--products": products, "--seed": seed, "--rate": rate}
    wrong = [flag for flag, value in given.items() if value is not None]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} and --recording do not go together: a recording has its own market")
    for file in files:
        if not file.is_file():
            raise ConfigError(f"--recording {file}: no such file")
    from daedalus.sandbox.sources import open_recording

    return open_recording(files, form, protocol, speed=speed)


def _paths(value: Path | Sequence[Path] | None) -> list[Path]:
    return [value] if isinstance(value, Path) else list(value or ())


def _speed(text: str) -> float:
    from daedalus.shared.errors import ConfigError

    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not speed > 0:
        raise ConfigError(f"--speed {text}: a number above 0, or max")
    return speed


async def _serve(server: "SandboxServer", duration: float | None, ready_file: Path | None) -> None:
    """Run the server until a signal or the duration's end. A second signal ends the process at once."""
    import asyncio
    import json
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if duration is not None:
        loop.call_later(duration, stop.set)
    async with server:
        typer.echo(server.url)
        typer.echo(
            f"{server.source.name}: {', '.join(server.source.products)}; statistics: GET /stats; Ctrl-C stops it"
        )
        if urls := server.protocol.ccxt_urls(server.url):
            typer.echo(f'for ccxt, merge into exchange.urls["api"]: {json.dumps(urls)}')
        if ready_file is not None:
            await asyncio.to_thread(_write_ready, ready_file, server.url, server.port)
        await stop.wait()


def _write_ready(path: Path, url: str, port: int) -> None:
    """Write the file whole or not at all, since somebody waits for it."""
    import json

    from daedalus.shared.errors import ConfigError

    unfinished = path.with_name(path.name + ".new")
    try:
        unfinished.write_text(json.dumps({"url": url, "port": port}) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"--ready-file {path}: cannot be written ({error.strerror})") from error


def summary(server: "SandboxServer") -> str:
    """Return what was sent, for the terminal."""
    stats = server.stats()
    frames = sum(c.sent.frames for c in stats.connections)
    changes = sum(c.sent.changes for c in stats.connections)
    trades = sum(c.sent.trades for c in stats.connections)
    what = f"{frames:,} frames: {changes:,} book changes, {trades:,} trades"
    lines = [f"sent {what} to {stats.connections_opened} connections"]
    dropped = sum(c.dropped.frames for c in stats.connections)
    happened = sum(len(c.faults) for c in stats.connections) + stats.refused
    if happened:
        lines.append(f"faults: {happened:,}; frames they held back: {dropped:,}")
    return "\n".join(lines)
