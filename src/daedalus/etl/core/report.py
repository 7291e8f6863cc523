"""What a run plans and what it did."""

from dataclasses import dataclass, field, fields

from daedalus.etl.core.writing import Written
from daedalus.etl.transforms.base import Market
from daedalus.shared.errors import DaedalusError
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition


@dataclass(frozen=True)
class Chain:
    """The partitions of one market, in order, that are folded one after the other.

    Parameters
    ----------
    market
        Whose they are.
    inputs
        Partitions to read, by the name of the input.
    """

    market: Market
    inputs: dict[str, list[Partition]]


@dataclass(frozen=True)
class Forecast:
    """What a run would read and write of one market.

    Parameters
    ----------
    market, inputs
        As in `Chain`, less what its state says is done.
    targets
        Files to write; a few at the edges may turn out to have no rows.
    state
        The state that would be read, where there is one, and written; None: none is kept.
    notes
        What the user should know.
    """

    market: Market
    inputs: dict[str, list[Partition]]
    targets: list[Place]
    state: Place | None
    notes: list[str]


@dataclass(frozen=True)
class Failure:
    """A market that could not be finished, and why. Partitions that were published before stand."""

    market: Market
    error: DaedalusError


@dataclass
class Tally:
    """What a run did of one market.

    Attributes
    ----------
    hours
        Hours with rows that were written.
    rows_in, rows_out
        Rows read from the leading inputs, rows written.
    skipped, failed
        How many entries of `Report.skipped` and `Report.failures` are its own.
    seconds
        Spent on it; where its hours were computed by several runs, by all of them.
    """

    hours: int = 0
    rows_in: int = 0
    rows_out: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0

    def add(self, other: "Tally") -> None:
        """Add what another run did of other hours of the market."""
        for one in fields(Tally):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Report:
    """What a run did.

    Attributes
    ----------
    written
        Published partitions.
    rows_in, rows_out
        Rows read from the leading inputs, rows written.
    files_opened, files_needed
        Input files opened, no file twice, and those that the selected rows lie in: equal where nothing failed.
    seconds
        Wall time.
    failures
        Markets that failed.
    skipped
        What was selected and not done, and why.
    tallies
        What of it each market has, in the order in which they were begun.
    notes
        What the user should know, such as an input that is missing.
    """

    written: list[Written] = field(default_factory=list)
    rows_in: int = 0
    rows_out: int = 0
    files_opened: int = 0
    files_needed: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tallies: dict[Market, Tally] = field(default_factory=dict)

    @classmethod
    def of_failure(cls, market: Market, error: DaedalusError) -> "Report":
        """Return the report of a market that could not be begun, or whose own report is lost."""
        return cls(failures=[Failure(market, error)], tallies={market: Tally(failed=1)})

    def add(self, other: "Report") -> None:
        """Add what another run over other markets did; the wall time stays."""
        for name in ("written", "failures", "skipped", "notes"):
            getattr(self, name).extend(getattr(other, name))
        for name in ("rows_in", "rows_out", "files_opened", "files_needed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for market, tally in other.tallies.items():
            self.tallies.setdefault(market, Tally()).add(tally)

    def settle(self, market: Market, seconds: float) -> None:
        """Enter the tally of the one market that all of this report is about."""
        hours = len({hour for written in self.written for hour in written.hours})
        counts = self.rows_in, self.rows_out, len(self.skipped), len(self.failures)
        self.tallies[market] = Tally(hours, *counts, seconds)


@dataclass(frozen=True)
class Progress:
    """How far a run is: leading partitions begun, of how many, and the market at hand."""

    begun: int
    total: int
    market: Market
