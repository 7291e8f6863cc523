"""Merging record arrays that are each in the order of a clock, in bounded memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[Any]


def by_clock(sources: Sequence[Iterator[Records]], clock: str) -> Iterator[Records]:
    """Yield the records of several sources in the order of a clock; of one instant, those of the first source first.

    Parameters
    ----------
    sources
        Each yields arrays of one dtype, in the order of the clock.
    clock
        The field.
    """
    heads = [next(source, None) for source in sources]
    while known := [head for head in heads if head is not None]:
        until = min(head[clock][-1] for head in known)
        parts = []
        for number, head in enumerate(heads):
            if head is None:
                continue
            # All records of the instant at which one array ends have to be there.
            while head[clock][-1] == until and (following := next(sources[number], None)) is not None:
                head = np.concatenate([head, following])
            count = int(np.searchsorted(head[clock], until, side="right"))
            parts.append(head[:count])
            heads[number] = head[count:] if count < len(head) else None
        merged = np.concatenate(parts)
        yield merged[np.argsort(merged[clock], kind="stable")]
