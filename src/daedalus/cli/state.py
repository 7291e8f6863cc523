"""`daedalus state`: what the states that features carry from run to run have seen, and forgetting them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daedalus.cli import etl

if TYPE_CHECKING:
    from daedalus.etl.utils.state_manager import Checkpoint, Head, StateManager
    from daedalus.storage.base import Place

app = typer.Typer(
    help="States that features carry from run to run: list, show, reset.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

PathOption = Annotated[
    str | None,
    typer.Option(
        "--state-path",
        help="A .json file, or a folder of states, also s3://BUCKET/PREFIX; default: storage.paths.state_dir.",
    ),
]
_TransformOption = Annotated[str | None, typer.Option("--transform", help="Only of orderbook, trades or ticker.")]


@app.callback()
def group() -> None:
    """States that features carry from run to run: list, show, reset."""


@app.command("list")
def list_states(
    state_path: PathOption = None,
    as_json: etl.JsonOption = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """List states: of which transform and market, and until when they have seen.

    Example: daedalus state list --state-path state
    """
    heads = list(_manager(state_path, config, overrides).heads())
    if as_json:
        typer.echo(_as_json(heads))
        return
    for path, head in heads:
        newest = head.checkpoints[0]
        typer.echo(f"{head.transform:<10} {head.market!s:<32} until {_time(newest)}  {newest.rows:>12,} rows  {path}")
    typer.echo(f"{len(heads)} states")


@app.command("show")
def show(
    state_path: PathOption = None,
    transform: _TransformOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    as_json: etl.JsonOption = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Show the checkpoints of states: span, rows, size, and the fingerprint of what they belong to.

    Example: daedalus state show --state-path state/btc-usd_orderbook.json
    """
    chosen = _chosen(_manager(state_path, config, overrides), transform, exchange, symbol)
    if as_json:
        typer.echo(_as_json(chosen))
        return
    for path, head in chosen:
        typer.echo(f"{head.transform} features of {head.market}, in {path}")
        for one in head.checkpoints:
            typer.echo(
                f"  {one.began:%Y-%m-%dT%H:%M} to {_time(one)}  {one.rows:,} rows  {one.bytes:,} bytes in {one.file}\n"
                f"    fingerprint {one.fingerprint[:12]}, written by Daedalus {one.version}"
            )


@app.command("reset")
def reset(
    state_path: PathOption = None,
    transform: _TransformOption = None,
    exchange: etl.ExchangeOption = None,
    symbol: etl.SymbolOption = None,
    every: Annotated[bool, typer.Option("--all", help="All states that there are, without naming one.")] = False,
    config: etl.ConfigOption = None,
    overrides: etl.OverridesOption = None,
) -> None:
    """Forget states: the next run of their markets starts afresh. Rows that were written stay.

    Example: daedalus state reset --state-path state --transform orderbook --symbol BTC-USD
    """
    from daedalus.etl.utils.state_manager import StateManager
    from daedalus.shared.errors import ConfigError

    manager = _manager(state_path, config, overrides)
    if not (every or manager.of_one or transform or exchange or symbol):
        raise ConfigError("name what to forget: --transform, --exchange, --symbol, a .json file, or --all")
    for place, head in _chosen(manager, transform, exchange, symbol):
        StateManager(place).reset(head.transform, head.market)
        typer.echo(f"forgot {head.transform} features of {head.market}, {place}")


def _manager(state_path: str | None, config: Path | None, overrides: list[str] | None) -> "StateManager":
    settings = etl.load_settings(config, overrides, None, None, False)
    from daedalus.cli.stores import state_place
    from daedalus.cli.wiring import state_dir
    from daedalus.etl.utils.state_manager import StateManager

    return StateManager(state_dir(settings) if state_path is None else state_place(settings, state_path))


def _chosen(
    manager: "StateManager", transform: str | None, exchange: str | None, symbol: str | None
) -> "list[tuple[Place, Head]]":
    """Return the states that the flags select; raises NotFoundError if there are none."""
    from daedalus.shared.errors import NotFoundError

    wanted = etl.filter_spec(exchange, symbol, None, None, None, None, None, None)
    found = [
        (path, head)
        for path, head in manager.heads()
        if transform in (None, head.transform) and wanted.selects_market(head.exchange, head.symbol)
    ]
    if not found:
        raise NotFoundError(f"no such state in {manager.root}: `daedalus state list` shows what there is")
    return found


def _as_json(heads: "list[tuple[Place, Head]]") -> str:
    import msgspec

    return msgspec.json.encode([{"path": str(path), **msgspec.to_builtins(head)} for path, head in heads]).decode()


def _time(one: "Checkpoint") -> str:
    return f"{one.until:%Y-%m-%dT%H:%M}"
