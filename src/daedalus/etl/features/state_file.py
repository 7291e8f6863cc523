"""A feature state on disk: a small JSON file at the user's path, and beside it the state's bytes.

The bytes are written first, under a name with their hash; the JSON file that names them takes its place in one step.
So at any instant the path holds one whole state: the old one or the new one.
"""

import hashlib
import json
import os
from pathlib import Path

from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.state import State
from daedalus.shared.errors import StateError

_FORMAT = 1


def save_state(path: Path, features: FeatureSet, state: State, exchange: str, symbol: str) -> None:
    """Write a state; what was there before stays until the new one is whole.

    Parameters
    ----------
    path
        Of the JSON file. The bytes go into the same folder, as its name without suffix, a dot, their hash and ``.bin``.
    exchange, symbol
        The market that the state is of; `load_state` refuses it for another.
    """
    data = features.state_to_bytes(state)
    digest = hashlib.sha256(data).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    body = path.with_name(f"{path.stem}.{digest[:16]}.bin")
    head = {
        "format": _FORMAT,
        "exchange": exchange,
        "symbol": symbol,
        "fingerprint": features.fingerprint,
        "file": body.name,
        "sha256": digest,
    }
    _write(body, data)
    _write(path, (json.dumps(head, indent=2) + "\n").encode())
    for old in path.parent.glob(f"{path.stem}.{'[0-9a-f]' * 16}.bin"):
        if old != body:
            old.unlink(missing_ok=True)


def load_state(path: Path, features: FeatureSet, exchange: str, symbol: str) -> State | None:
    """Return the state at a path, None if there is none.

    Raises
    ------
    StateError
        If it is damaged, or belongs to another market, configuration or version. The message says which.
    """
    try:
        head = json.loads(path.read_bytes())
        market, name, digest = (head["exchange"], head["symbol"]), head["file"], head["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} is not a feature state: move it away, or start afresh") from error
    if head.get("format") != _FORMAT:
        raise StateError(f"{path} has format {head.get('format')}, this version reads {_FORMAT}: start afresh")
    if market != (exchange, symbol):
        raise StateError(
            f"{path} is the state of {market[0]} {market[1]}, not of {exchange} {symbol}: use another path"
        )
    try:
        data = path.with_name(Path(name).name).read_bytes()
    except FileNotFoundError as error:
        raise StateError(f"{path} names {name}, which is missing: restore it, or start afresh") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise StateError(f"{name} is damaged (its checksum disagrees): restore a copy, or start afresh")
    return features.state_from_bytes(data)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is whole under its name, and stays so when the power fails."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
