"""Run the benchmarks named on the command line, or all of them: ``python -m benchmarks [NAME ...]``."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
PREFIX = "bench_"


def available() -> list[str]:
    """Names of the benchmarks in this folder, without the prefix, sorted."""
    return sorted(path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.py"))


def run(name: str) -> None:
    """Import ``bench_{name}`` and call its ``main``."""
    print(f"== {name}", flush=True)
    started = time.perf_counter()
    importlib.import_module(f"benchmarks.{PREFIX}{name}").main()
    print(f"-- {name}: {time.perf_counter() - started:.1f} s\n", flush=True)


def main(arguments: list[str]) -> int:
    """Run what `arguments` name, or everything; return the exit code."""
    known = available()
    if not known:
        print(f"benchmarks: there are none yet (no {PREFIX}*.py in {FOLDER.name}/)")
        return 0
    chosen = [Path(argument).stem.removeprefix(PREFIX) for argument in arguments] or known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        print(f"benchmarks: no such benchmark: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in chosen:
        run(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
