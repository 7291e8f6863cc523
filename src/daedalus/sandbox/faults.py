"""Faults on demand: a table of what can go wrong, and the little language that says when.

``NAME[@WHEN][xN][/PRODUCT][:ARG]``. WHEN counts from a connection's first message: ``20`` is once after 20 s, ``500f``
once at the 500th frame, ``every=20`` and ``every=500f`` again and again; without it, at once. ``xN`` limits the fault
to the first N connections. PRODUCT limits it to the frames of one product, where the fault is about frames; case and
separators do not matter. ARG depends on the fault. `refuse` counts from the start of the server; ``xN`` is how often.

Examples: ``disconnect@20``, ``skip_sequence@every=500f:3``, ``silence@10x1/BTC-USD:15``, ``refuse@0x2:5``.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from daedalus.sandbox.link import GOING_AWAY, Link
from daedalus.sandbox.products import is_product
from daedalus.sandbox.stats import FaultRecord
from daedalus.shared.errors import ConfigError

REFUSE = "refuse"
#: What a client of the native collector allows a frame to have.
FRAME_BYTES_MAX = 64 * 1024 * 1024
#: Largest argument: a frame of a gigabyte, a silence of 34 years.
ARG_MAX = 2**30
_SPEC = re.compile(
    r"(?P<name>[\w-]+)(?:@(?P<every>every=)?(?P<at>\d+(?:\.\d+)?)(?P<frames>f?))?(?:x(?P<first>\d+))?"
    r"(?:/(?P<product>[^\s:]+))?(?::(?P<arg>.*))?"
)

Apply = Callable[[Link, float, FaultRecord], Awaitable[None]]


@dataclass(frozen=True)
class FaultKind:
    """One row of the table.

    Attributes
    ----------
    doc
        What happens; ``ARG`` stands for the argument.
    default
        The argument when none is given.
    apply
        Makes it happen.
    is_urgent
        It must not wait for a frame that is on its way.
    is_by_product
        It may be limited to a product.
    """

    doc: str
    default: float
    apply: Apply
    is_urgent: bool = False
    is_by_product: bool = False


@dataclass(frozen=True)
class Fault:
    """One fault to come.

    Attributes
    ----------
    at
        Seconds, or frames if `in_frames`, from a connection's first message; the period if `is_repeated`.
    first
        Only on the first so many connections (None: on all).
    arg
        None takes the kind's default.
    product
        Only frames of this product; None is all of the connection.
    """

    name: str
    at: float = 0.0
    in_frames: bool = False
    is_repeated: bool = False
    first: int | None = None
    arg: float | None = None
    product: str | None = None

    def __post_init__(self) -> None:
        """Check that there is such a fault, at such a time."""
        if self.name not in FAULTS:
            near = get_close_matches(self.name, FAULTS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(FAULTS)}"
            raise ConfigError(f"unknown fault {self.name!r}: {hint}")
        if self.is_repeated and self.at <= 0:
            raise ConfigError(f"fault {self.name}: 'every' needs a period above 0")
        if self.arg is not None and not 0 <= self.arg <= ARG_MAX:
            raise ConfigError(f"fault {self.name}: its ARG must be between 0 and {ARG_MAX}")
        if self.name == REFUSE and self.in_frames:
            raise ConfigError("fault refuse: counts in seconds, not frames, since it comes before the first frame")
        if self.product and not FAULTS[self.name].is_by_product:
            able = ", ".join(name for name, kind in FAULTS.items() if kind.is_by_product)
            raise ConfigError(f"fault {self.name}: happens to a whole connection; {able} can be limited to a product")

    @property
    def value(self) -> float:
        """The argument, or the kind's default."""
        return FAULTS[self.name].default if self.arg is None else self.arg

    @classmethod
    def parse(cls, spec: str) -> "Fault":
        """Return the fault of a text such as ``skip_sequence@every=500f:3``. Raises `ConfigError` if it is none."""
        match = _SPEC.fullmatch(spec.strip())
        if not match:
            raise ConfigError(
                f"fault {spec!r}: write NAME[@WHEN][xN][/PRODUCT][:ARG], for example disconnect@20 or silence@10:15"
            )
        try:
            arg = None if match["arg"] is None else float(match["arg"])
        except ValueError:
            raise ConfigError(f"fault {spec!r}: {match['arg']!r} is not a number") from None
        return cls(
            name=match["name"],
            at=float(match["at"] or 0.0),
            in_frames=bool(match["frames"]),
            is_repeated=bool(match["every"]),
            first=None if match["first"] is None else int(match["first"]),
            arg=arg,
            product=match["product"],
        )


async def _disconnect(link: Link, arg: float, record: FaultRecord) -> None:
    await link.close(int(arg), "fault: disconnect")


async def _disconnect_abrupt(link: Link, arg: float, record: FaultRecord) -> None:
    link.abort("fault: disconnect_abrupt")


async def _skip_sequence(link: Link, arg: float, record: FaultRecord) -> None:
    link.drop_next(max(1, int(arg)), record)


async def _silence(link: Link, arg: float, record: FaultRecord) -> None:
    link.silence(arg, record)


async def _malformed(link: Link, arg: float, record: FaultRecord) -> None:
    link.cut_next(max(1, int(arg)), record)


async def _error_frame(link: Link, arg: float, record: FaultRecord) -> None:
    if link.session is not None:
        for _ in range(int(arg)):
            await link.send(link.session.error_frame("internal error: injected by the sandbox"))


async def _duplicate(link: Link, arg: float, record: FaultRecord) -> None:
    link.repeat_next(max(1, int(arg)), record)


async def _slow_start(link: Link, arg: float, record: FaultRecord) -> None:
    # The caller holds the connection's lock, so nothing goes out meanwhile.
    await link.clock.sleep(arg)


async def _oversized(link: Link, arg: float, record: FaultRecord) -> None:
    head, tail = b'{"channel":"oversized","padding":"', b'"}'
    await link.write(head + b"x" * max(0, int(arg) - len(head) - len(tail)) + tail)


async def _unknown_message(link: Link, arg: float, record: FaultRecord) -> None:
    if link.session is not None:
        for _ in range(int(arg)):
            await link.send(link.session.unknown_frame())


async def _refuse(link: Link, arg: float, record: FaultRecord) -> None:
    raise ConfigError("refuse happens before a connection: give it to the server at the start")


FAULTS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "disconnect": FaultKind("close the connection with close code ARG (1001)", GOING_AWAY, _disconnect, True),
        "disconnect_abrupt": FaultKind("reset TCP without a close frame", 0, _disconnect_abrupt, True),
        "skip_sequence": FaultKind(
            "lose the next ARG (1) numbered frames with data, so that the exchange's own numbering shows it",
            1,
            _skip_sequence,
            is_by_product=True,
        ),
        "silence": FaultKind(
            "send nothing at all for ARG (86400) s, the socket open", 86_400, _silence, is_by_product=True
        ),
        "malformed": FaultKind("cut the next ARG (1) frames with data in half", 1, _malformed, is_by_product=True),
        "error_frame": FaultKind("send ARG (1) error frames", 1, _error_frame),
        "duplicate": FaultKind("send the next ARG (1) frames with data twice", 1, _duplicate, is_by_product=True),
        "slow_start": FaultKind("hold everything back for ARG (3) s", 3, _slow_start),
        "oversized": FaultKind("send a frame of ARG (64 MiB + 1) bytes", FRAME_BYTES_MAX + 1, _oversized),
        "unknown_message": FaultKind("send ARG (1) messages of a type that does not exist", 1, _unknown_message),
        REFUSE: FaultKind("answer a handshake with 503 and Retry-After: ARG (1)", 1, _refuse),
    }
)


def check_products(faults: Iterable[Fault], products: Sequence[str]) -> None:
    """Check that every product that a fault names is there. Raises `ConfigError` that names the nearest."""
    for fault in faults:
        if fault.product and not any(is_product(fault.product, product) for product in products):
            near = get_close_matches(fault.product.upper(), products, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(products)}"
            raise ConfigError(f"fault {fault.name}: the market has no product {fault.product!r}: {hint}")


class FaultPlan:
    """The faults of one connection, in the order in which they fall due.

    Parameters
    ----------
    faults
        All of the server's.
    index
        How many connections there were before this one.
    """

    def __init__(self, faults: Iterable[Fault], index: int) -> None:
        mine = [f for f in faults if f.name != REFUSE and (f.first is None or index < f.first)]
        self._by_time = [(f.at, f) for f in mine if not f.in_frames]
        self._by_frame = [(f.at, f) for f in mine if f.in_frames]

    @property
    def next_s(self) -> float | None:
        """Seconds from the connection's first message to the next timed fault; None if there is no more."""
        return min((at for at, _ in self._by_time), default=None)

    def due(self, elapsed_s: float) -> list[Fault]:
        """Take the timed faults that are due."""
        return _take(self._by_time, elapsed_s)

    def due_at_frame(self, frame: int) -> list[Fault]:
        """Take the faults that are due before the frame of that number (1 is the first) goes out."""
        return _take(self._by_frame, frame) if self._by_frame else []


def _take(queue: list[tuple[float, Fault]], now: float) -> list[Fault]:
    """Remove what is due from a queue, a repeated fault once however late, and put its next time in."""
    taken = sorted((item for item in queue if item[0] <= now), key=lambda item: item[0])
    queue[:] = [item for item in queue if item[0] > now]
    queue += [(now + fault.at, fault) for _, fault in taken if fault.is_repeated]
    return [fault for _, fault in taken]


def _times(fault: Fault) -> int | None:
    """How often a `refuse` happens; None is without end."""
    return fault.first if fault.first is not None or fault.is_repeated else 1


class RefusalPlan:
    """Which handshakes are refused: of each `refuse` fault `first` (1, or without end if repeated) from its time on."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._queue = [(f.at, f, _times(f)) for f in faults if f.name == REFUSE]

    def retry_after(self, elapsed_s: float) -> float | None:
        """Return the Retry-After of a handshake at that many seconds since the start, None to accept it."""
        for index, (at, fault, left) in enumerate(self._queue):
            if at <= elapsed_s and left != 0:
                again = elapsed_s + fault.at if fault.is_repeated else at
                self._queue[index] = (again, fault, None if left is None else left - 1)
                return fault.value
        return None
