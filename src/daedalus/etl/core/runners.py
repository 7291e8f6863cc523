"""Executors that are made from plain values, here or in a worker process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from daedalus.etl.core.config import FeatureConfig, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.report import Progress
from daedalus.etl.transforms.base import Transform
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.etl.transforms.ticker import TickerFeatureTransform
from daedalus.etl.transforms.trades import TradesFeatureTransform
from daedalus.etl.utils.state_manager import StateManager
from daedalus.storage.base import Place

#: Makes an executor; goes to worker processes, so it is made of what can be pickled.
MakeExecutor = Callable[..., TransformExecutor]


class StatefulOrderbookRunner(TransformExecutor):
    """Computes order book features: the hours of each market in order, with the state carried from one to the next.

    With a state path, a run goes on where the one before has ended, to the same bits as one run over all hours. After
    each hour its rows are published first, then the state that follows them; so a run that was killed repeats the hour
    that it was in, into equal rows. A missing hour is noted as a gap. Hours before those that the state has seen are
    refused.

    Parameters
    ----------
    config
        Parameters of the features.
    source, target
        Where to read and write.
    state_path
        A ``.json`` file for the state of one market, or a folder for those of many; None: start afresh, keep none.
    reset_states
        Whether to forget the states of the selected markets first.
    on_progress
        Called when an hour begins.

    Examples
    --------
    >>> runner = StatefulOrderbookRunner(FeatureConfig(), InputConfig(Path("lake")), OutputConfig(Path("lake")))

    Then ``runner.run(FilterSpec(symbol="BTC-USD"))`` returns a `Report`.
    """

    def __init__(
        self,
        config: FeatureConfig,
        source: InputConfig,
        target: OutputConfig,
        *,
        state_path: Path | Place | None = None,
        reset_states: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        states = None if state_path is None else StateManager(state_path)
        transform = OrderbookFeatureTransform(config)
        super().__init__(transform, source, target, states=states, reset_states=reset_states, on_progress=on_progress)


def make_runner(
    make_transform: Callable[[], Transform],
    source: InputConfig,
    target: OutputConfig,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> TransformExecutor:
    """Return the executor of a transform that carries no state from run to run."""
    return TransformExecutor(make_transform(), source, target, on_progress=on_progress)


def stateful_runner(
    make_transform: Callable[[FeatureConfig], Transform],
    config: FeatureConfig,
    source: InputConfig,
    target: OutputConfig,
    *,
    state_path: Path | Place | None = None,
    reset_states: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> TransformExecutor:
    """Return the executor of a transform that carries state; see `StatefulOrderbookRunner`."""
    states = None if state_path is None else StateManager(state_path)
    transform = make_transform(config)
    return TransformExecutor(
        transform, source, target, states=states, reset_states=reset_states, on_progress=on_progress
    )


trades_runner = partial(stateful_runner, TradesFeatureTransform)
ticker_runner = partial(stateful_runner, TickerFeatureTransform)
