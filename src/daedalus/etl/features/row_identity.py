"""Time of a trade or a ticker (feature catalogue, section 1)."""

from daedalus.etl.features.base import Arrays, Block, Family, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.shared.schemas import Column

COLUMNS = (
    Column("ts", "int64", "ns", "effective time: running maximum of event time (else receive time), UTC"),
    Column("is_late", "int8", "0/1", "event time before the newest one seen (T2)"),
)


def row_identity(config: FeatureConfig) -> Family:
    """Declare the family. It is always there."""
    return Family("row_identity", 1, "time of a row", COLUMNS, _run, core=("*",))


def _run(frame: Frame, state: Arrays, out: Block) -> None:
    out.i64[0, : frame.rows] = frame.ts
    out.i8[0, : frame.rows] = frame.late
