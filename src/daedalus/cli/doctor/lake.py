"""The doctor's questions about the lake: what runs, what a crash left, and whether the newest files are whole."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from daedalus.cli.doctor.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from pathlib import Path

    from daedalus.config.config import DaedalusConfig
    from daedalus.storage.ledger import Ledger

#: Of the newest segments the sizes are compared, and of a few all bytes.
NEWEST, READ = 200, 3


def programs(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield what recorders and sync say of themselves."""
    from daedalus.cli.status import look

    seen = look(config)
    for status in seen.recorders:
        liveness = status.liveness(seen.now_ns)
        if liveness in ("died", "silent"):
            word = "died" if liveness == "died" else "hangs"
            yield warn("recorder", f"that of {status.source} {word}", "see its log; `daedalus run` starts it again")
        elif liveness == "running":
            for text in (*status.faults(), *status.warnings()):
                yield warn("recorder", f"{status.source}: {text}", "`daedalus status --watch` shows whether it passes")
            yield ok("recorder", f"that of {status.source} runs, process {status.pid}")
    if not seen.running:
        yield ok("recorder", "none runs on this lake")
    if seen.sync is not None and not seen.sync.is_well(seen.now_ns):
        text = seen.sync.error or "no run has succeeded for three intervals"
        yield warn("sync", text, "`daedalus sync --dry-run` shows what it would do; see docs/STORAGE.md")


def journals(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield journals that nobody seals, and those that could not be read."""
    from daedalus.cli.recover import find_sources
    from daedalus.cli.wiring import raw_paths
    from daedalus.ingestion.writers.recovery import LOCK_NAME
    from daedalus.storage.lock import holder

    paths = raw_paths(config, "")
    left = [p.source for p in find_sources(paths.base, paths.tier) if holder(p.active / LOCK_NAME) is None]
    if left:
        text = f"a recorder of {', '.join(left)} did not end in order: its last rows wait in a journal"
        yield warn("journals", text, "`daedalus recover`, or start the recorder")
    else:
        yield ok("journals", "none is left behind")
    if bad := sorted(paths.quarantine.parent.glob("quarantine/*/*")):
        text = f"{len(bad)} unreadable, set aside: {bad[0]}"
        yield warn("journals", text, "keep them if the rows matter; the gaps channel says what is missing")


def segments(config: "DaedalusConfig") -> Iterator[Finding]:
    """Yield whether the newest segments are as the ledger knows them; reads a few."""
    from daedalus.cli.wiring import raw_paths
    from daedalus.storage.ledger import Ledger

    base = raw_paths(config, "").base
    ledger = Ledger.existing(base)
    if ledger is None:
        yield ok("segments", f"nothing is sealed in {base}")
        return
    with ledger:
        yield from _newest(base, ledger)


def _newest(base: "Path", ledger: "Ledger") -> Iterator[Finding]:
    query = "SELECT key, bytes FROM segments WHERE deleted_at IS NULL ORDER BY sealed_at DESC LIMIT ?"
    known = ledger.rows(query, (NEWEST,))
    sizes = {key: path.stat().st_size for key, _ in known if (path := base / key).exists()}
    gone = [key for key, _ in known if key not in sizes]
    other = [key for key, size in known if sizes.get(key, size) != size]
    for keys, what in ((gone, "gone"), (other, "of another size than when sealed")):
        if keys:
            fix = "`daedalus verify` checks all; restore from a copy (`daedalus sync --direction download`)"
            yield fail("segments", f"{len(keys)} of the newest {len(known)} are {what}: {keys[0]}", fix)
    found = [one for key, _ in known[:READ] if key in sizes and key.endswith(".parquet") for one in _read(base / key)]
    yield from found
    if not (gone or other or found):
        yield ok(
            "segments",
            f"the newest {len(known)} are there, {min(READ, len(known))} of them read; `daedalus verify` reads all",
        )


def _read(path: "Path") -> Iterator[Finding]:
    from daedalus.lake.segment_check import SegmentCheck

    for finding in SegmentCheck(path).findings():
        yield fail("segments", f"{finding.path}: {finding.what}", finding.advice)
