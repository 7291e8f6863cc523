"""How families call their kernels: at once, or noting the calls so that `native` can repeat them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

R = TypeVar("R")


class Caller(Protocol):
    """Calls a kernel with its arguments and returns what it returns."""

    def __call__(self, function: Callable[..., R], /, *args: Any) -> R:
        """Call it."""


def directly(function: Callable[..., R], /, *args: Any) -> R:
    """Call a kernel."""
    return function(*args)


class Call(NamedTuple):
    """A kernel, its arguments and the whole number that it returned, None for nothing."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    result: int | None


class Recorder:
    """Calls kernels and keeps what was called."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, function: Callable[..., R], /, *args: Any) -> R:
        """Call it and note the call."""
        result = function(*args)
        self.calls.append(Call(function, args, result if isinstance(result, int) else None))
        return result
