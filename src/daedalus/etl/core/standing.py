"""Where the state of a market stands against what is selected: what is done, what is to do, what cannot be."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from daedalus.etl.core.manifest import inputs_of
from daedalus.etl.core.stretches import Stretch, holes
from daedalus.etl.transforms.base import Market
from daedalus.etl.utils.state_manager import Checkpoint
from daedalus.shared.errors import StateError
from daedalus.storage.base import Place

_SHOWN_MAX = 3


@dataclass
class Standing:
    """What is to be folded of a market, and from which state.

    Parameters
    ----------
    left
        Stretches to fold.
    state, checkpoint
        What to go on from; None: from the start.
    notes, skipped
        What the user should know, and what is selected but not done.
    """

    left: list[Stretch]
    state: bytes | None = None
    checkpoint: Checkpoint | None = None
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def afresh(market: Market, stretches: list[Stretch]) -> Standing:
    """Return the standing of a market without a state."""
    return Standing(stretches, notes=_hole_notes(market, stretches, None))


def resumed(
    market: Market,
    stretches: Sequence[Stretch],
    found: tuple[Checkpoint, bytes],
    published: Callable[[Stretch], Sequence[Place]],
) -> Standing:
    """Return the standing of a market that goes on from a state.

    Stretches that the state has seen and whose output is there are done. Those whose inputs have changed since are
    skipped, and said so.

    Parameters
    ----------
    published
        Returns the files of a stretch that are there.

    Raises
    ------
    StateError
        If a stretch lies before what the state has seen, or within it without output: that would be going back in time.
    """
    checkpoint, state = found
    for stretch in stretches:
        _refuse_going_back(market, stretch, checkpoint, published(stretch))
    left = [stretch for stretch in stretches if stretch.start >= checkpoint.until]
    done = [stretch for stretch in stretches if stretch.start < checkpoint.until]
    standing = Standing(left, state, checkpoint, _hole_notes(market, left, checkpoint.until))
    if done:
        standing.notes.insert(0, f"{market}: the state stands at {_time(checkpoint.until)}; {len(done)} done before")
    for stretch in done:
        now, then = _names(stretch), _names_then(stretch, published(stretch))
        if then is not None and now != then:
            standing.skipped.append(
                f"{market} {_time(stretch.start)}: its inputs have changed since it was computed ({len(then)} files "
                f"then, {len(now)} now); compute it again with --reset-state from there on"
            )
    return standing


def _refuse_going_back(market: Market, stretch: Stretch, seen: Checkpoint, there: Sequence[Place]) -> None:
    if stretch.start < seen.began or (stretch.start < seen.until and not there):
        why = "begins only at" if stretch.start < seen.began else "has gone on without it to"
        at = seen.began if stretch.start < seen.began else seen.until
        raise StateError(
            f"{market} {_time(stretch.start)}: the state {why} {_time(at)}, and a state cannot go back in time: select "
            f"--from {_time(seen.until)}, or start afresh with --reset-state"
        )


def _hole_notes(market: Market, stretches: Sequence[Stretch], since: dt.datetime | None) -> list[str]:
    found = holes(stretches, since)
    notes = [f"{market}: nothing is recorded from {_time(a)} to {_time(b)}: a gap" for a, b in found[:_SHOWN_MAX]]
    return notes + ([f"{market}: and {len(found) - _SHOWN_MAX} more gaps"] if len(found) > _SHOWN_MAX else [])


def _names(stretch: Stretch) -> set[str]:
    return {place.key for partitions in stretch.inputs.values() for p in partitions for place in p.segments()}


def _names_then(stretch: Stretch, there: Sequence[Place]) -> set[str] | None:
    """Return what the outputs were computed from, of the folders of the stretch; None where they do not say."""
    folders = {p.path.key for partitions in stretch.inputs.values() for p in partitions}
    known = [inputs for place in there if (inputs := inputs_of(place)) is not None]
    names = {one.key for inputs in known for one in inputs}
    return {name for name in names if name.rpartition("/")[0] in folders} if known else None


def _time(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%dT%H}"
