"""`daedalus replay-frames`: recorded frames into typed channels, with today's parsers."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.ingestion.orchestrators.replaying import ReplayReport, RowOptions

#: What a source's replay is called in the lake that holds the recording.
SUFFIX = "-replayed"


def replay_frames(
    base_dir: Annotated[Path | None, typer.Option(help="The lake's directory, over storage.base_dir.")] = None,
    source: Annotated[str, typer.Option(help="The source whose frames were recorded: coinbase or ccxt.")] = "coinbase",
    since: Annotated[str | None, typer.Option("--from", help="First hour, UTC: 2025-06-19T14 or 2025-06-19.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Hour to stop before, UTC; default: none.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Another lake for the rows; default: this one, as source SOURCE-replayed.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default config/config.yaml where it exists.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, over the file: --set coinbase.channels=[l2].")
    ] = None,
) -> None:
    """Make ticker, trades, l2, orderbook and gaps anew from recorded frames, as recording live would have made them.

    For when a parser had a fault, or only frames were recorded. Channels, depth and interval are those of the settings;
    what was watched through CCXT stands in the frames, and no exchange is asked.
    It may be cut off at any time and run again: what is there already is not written twice.

    Example: daedalus replay-frames --base-dir data --source coinbase --from 2025-06-19 --to 2025-06-20 --output again

    Exit codes: 0 done, or nothing to do; 1 there are no frames, or the disk refuses; 2 the settings or flags are wrong.
    """
    from daedalus.cli.import_recordings import seal_options, shown_progress
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import logging_options, writer_options
    from daedalus.config.config import load_config
    from daedalus.ingestion.orchestrators.replaying import ReplayOptions
    from daedalus.ingestion.orchestrators.replaying import replay_frames as replay
    from daedalus.ingestion.writers.base import RawPaths

    flags = {**parse_overrides(overrides), **({"storage.base_dir": str(base_dir)} if base_dir else {})}
    settings = load_config(config, flags)
    configure_logging(**logging_options(settings))
    writing, (rows, exchanges) = writer_options(settings), row_options(settings, source)
    options = ReplayOptions(source, hour(since, "--from"), hour(until, "--to"), rows, exchanges)
    recorded = RawPaths(Path(writing["base_dir"]), source, writing["tier_raw"])
    into = RawPaths(output or recorded.base, source if output else source + SUFFIX, writing["tier_raw"])
    with shown_progress("frames") as on_progress:
        report = replay(options, recorded, into, seal_options(writing, settings.ingestion.raw_format), on_progress)
    typer.echo(summary(report, into.ready))


def row_options(settings: "DaedalusConfig", source: str) -> tuple["RowOptions", dict[str, "RowOptions"]]:
    """Return what to make of frames: of all, and of the exchanges of CCXT that the settings name."""
    from daedalus.config.exchanges import CcxtExchangeConfig
    from daedalus.ingestion.collectors.frame_parser import CHANNELS
    from daedalus.ingestion.orchestrators.replaying import RowOptions

    def typed(recorded: Iterable[str]) -> tuple[str, ...]:
        return tuple(channel for channel in recorded if channel in CHANNELS) or CHANNELS

    def of(entry: CcxtExchangeConfig) -> RowOptions:
        return RowOptions(
            typed(entry.record), entry.max_orderbook_depth, entry.orderbook_interval_ms, dict(entry.options)
        )

    if source == "ccxt":
        exchanges = {entry.exchange or name: of(entry) for name, entry in settings.ccxt.exchanges.items()}
        return of(CcxtExchangeConfig()), exchanges
    coinbase = settings.coinbase
    return RowOptions(typed(coinbase.channels), coinbase.max_orderbook_depth, coinbase.orderbook_interval_ms), {}


def hour(text: str | None, flag: str) -> dt.datetime | None:
    """Return the hour of a flag. Raises `ConfigError` if it is none."""
    from daedalus.shared.errors import ConfigError

    if text is None:
        return None
    try:
        at = dt.datetime.fromisoformat(text + ":00" if len(text) == len("2025-06-19T14") else text)
    except ValueError:
        raise ConfigError(f"{flag} {text}: not an hour; write 2025-06-19T14 or 2025-06-19, UTC") from None
    at = at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)
    if (at.minute, at.second, at.microsecond) != (0, 0, 0):
        raise ConfigError(f"{flag} {text}: whole hours are replayed; write {at:%Y-%m-%dT%H}")
    return at


def summary(report: "ReplayReport", ready: Path) -> str:
    """Return what a replay came to."""
    rows = ", ".join(f"{channel} {count:,}" for channel, count in sorted(report.rows.items())) or "nothing"
    lines = [f"replayed {report.frames:,} frames into {sum(report.rows.values()):,} rows in {ready}: {rows}"]
    if report.skipped:
        lines.append(f"replayed before: {report.skipped:,} segments of frames")
    return "\n".join(lines)
