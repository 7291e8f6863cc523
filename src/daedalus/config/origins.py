"""Where a value comes from: a line of the file, an environment variable or a flag."""

from dataclasses import dataclass, field
from pathlib import Path

#: Names of the sections down to a key; numbers are places in a list.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Origin:
    """One place. `line` counts from 1 and is None where there are no lines."""

    name: str
    line: int | None = None

    def __str__(self) -> str:
        """Return the place as editors and terminals spell it."""
        return self.name if self.line is None else f"{self.name}:{self.line}"


FLAG = Origin("command line")


@dataclass
class Origins:
    """The file that was read (None: defaults) and the place of every key that was set.

    `secrets_in_file` tells whether a secret stands in the file itself.
    """

    file: Path | None = None
    places: dict[KeyPath, Origin] = field(default_factory=dict)
    secrets_in_file: bool = False

    def of(self, path: KeyPath) -> Origin | None:
        """Return where a key was set, or else the nearest section around it; None for a default."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None

    def exact(self, path: KeyPath) -> Origin | None:
        """Return where this very key was set; None for a default."""
        return self.places.get(path)

    def set(self, path: KeyPath, origin: Origin) -> None:
        """Note that a key was set anew: what lay below it is gone."""
        self.places = {old: place for old, place in self.places.items() if old[: len(path)] != path}
        self.places[path] = origin


def dotted(path: KeyPath) -> str:
    """Return a key as users write it.

    Examples
    --------
    >>> dotted(("coinbase", "symbols", 0))
    'coinbase.symbols[0]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
