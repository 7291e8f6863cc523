"""How every kernel is compiled: on first call, cached on disk, without the interpreter lock, without fast-math.

Division follows IEEE (x/0 is inf or NaN and never raises); kernels turn it into null themselves.
"""

import logging
from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit
from numba.core import event

R = TypeVar("R")
_LOG = logging.getLogger(__name__)
_compiled = njit(cache=True, nogil=True, error_model="numpy")
_inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


def kernel(function: Callable[..., R]) -> Callable[..., R]:
    """Compile a function of typed arrays and scalars when it is first called."""
    return cast(Callable[..., R], _compiled(function))


def primitive(function: Callable[..., R]) -> Callable[..., R]:
    """Compile a small function into its callers, so that loops over it can be vectorised."""
    return cast(Callable[..., R], _inlined(function))


class _Notice(event.Listener):
    """Says, once in a process, why the first use after an installation takes so long."""

    said = False

    def on_start(self, event: event.Event) -> None:
        """Numba begins to compile what its cache does not have."""
        if not self.said and event.data["dispatcher"].py_func.__module__.startswith("daedalus."):
            self.said = True
            _LOG.warning("compiling kernels; this takes a minute or two the first time, later runs find them cached")

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]
