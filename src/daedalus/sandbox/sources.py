"""Which source plays which recording."""

from collections.abc import Sequence
from pathlib import Path

from daedalus.recordings.registry import FORMATS, guess_format
from daedalus.sandbox.base import MarketSource
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.recording import RecordingSource
from daedalus.shared.clock import Clock
from daedalus.shared.errors import ConfigError

AUTO = "auto"


def open_recording(
    paths: Sequence[Path], form: str, protocol: str, *, speed: float, clock: Clock | None = None
) -> MarketSource:
    """Return the source of one recorded session.

    Parameters
    ----------
    paths
        Its files, at least one.
    form
        Their format, or "auto": what the first line of the first file looks like.
    protocol
        What the server will speak: frames of the same exchange are then passed on as they are.
    speed
        Recorded seconds per wall second; infinity is as fast as the client takes it.

    Raises
    ------
    ConfigError
        If there is no such format, or it takes one file only, or nothing in it can be played.
    NotFoundError, CorruptError
        As the readers.
    """
    form = guess_format(paths[0]) if form == AUTO else form
    if form not in FORMATS:
        return CaptureSource(paths, form, protocol, speed=speed, clock=clock)
    if len(paths) > 1:
        raise ConfigError(f"{paths[1]}: a recording of the format {form} is one file")
    return RecordingSource(paths[0], form, speed=speed, clock=clock)
