"""How every kernel is compiled: on first call, cached on disk, without the interpreter lock, without fast-math.

Division follows IEEE (x/0 is inf or NaN and never raises); kernels turn it into null themselves.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

R = TypeVar("R")
_compiled = njit(cache=True, nogil=True, error_model="numpy")


def kernel(function: Callable[..., R]) -> Callable[..., R]:
    """Compile a function of typed arrays and scalars when it is first called."""
    return cast(Callable[..., R], _compiled(function))
