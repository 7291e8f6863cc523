"""docs/PROCESSOR_OPTIONS.md, from the models: ``python -m daedalus.config.reference > docs/PROCESSOR_OPTIONS.md``."""

import sys
from collections.abc import Iterator
from typing import Any

import yaml

from daedalus.config.config import DaedalusConfig
from daedalus.config.describe import allowed
from daedalus.config.keys import Key, keys_of

_HEAD = """\
# Processor options

The settings below `etl`: which tables are made, how they are laid out, and the parameters of features and bars. This
page is written from the models of the settings; `config/config.examples.yaml` has the same as YAML.

```sh
daedalus features list --set etl.channels.orderbook.processor_options.max_levels=10
daedalus config check
```

Changing a parameter changes what columns mean, and often their names. State that was kept with other parameters is
refused, with the reason; `--reset-state` begins afresh. Each silver file carries the fingerprint of its parameters in
its footer.
"""


def processor_options() -> str:
    """Return the page."""
    etl = keys_of(DaedalusConfig)["etl"]
    return "\n".join([_HEAD, *_section(etl)])


def _section(key: Key) -> Iterator[str]:
    """Yield the lines of a section's own keys as a table, then those of the sections in it."""
    assert key.section is not None
    keys = list(keys_of(key.section, key.path).values())
    leaves = [one for one in keys if one.is_leaf]
    if leaves:
        yield f"## `{'.'.join(key.path)}`\n"
        yield "| key | default | allowed | meaning |"
        yield "|---|---|---|---|"
        yield from map(_row, leaves)
        yield ""
    for one in keys:
        if one.section is not None:
            yield from _section(one)


def _row(key: Key) -> str:
    cells = (f"`{key.path[-1]}`", f"`{_value(key)}`", allowed(key.field), key.field.description or "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _value(key: Key) -> str:
    value: Any = key.field.get_default(call_default_factory=True)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


if __name__ == "__main__":
    sys.stdout.write(processor_options())
