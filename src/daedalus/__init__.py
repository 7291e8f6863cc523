"""Daedalus records crypto markets and turns ticks into features and bars."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daedalus.lake.lake import open_lake as open_lake

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load `open_lake` when it is asked for: a recorder imports this package too, and must stay light."""
    if name == "open_lake":
        from daedalus.lake.lake import open_lake

        return open_lake
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
