"""Structured logs: one set-up for our own lines (structlog) and those of libraries (logging).

Lines go to stderr, so that stdout stays for results, and on request to a rotated file. Secrets are taken out here as a
last line of defence: values under a telling name, and Pydantic's secret types, which hide themselves.
"""

import datetime as dt
import logging
import logging.handlers
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    from structlog.types import Processor

FILE_BYTES_MAX = 10_000_000
FILES = 5
HIDDEN = "**********"
_TELLING = re.compile(
    r"(api_?key|secret|passw|passphrase|token|authorization|jwt|credential|private_?key)", re.IGNORECASE
)


def configure_logging(
    level: str = "INFO", format: Literal["console", "json"] = "console", file: Path | None = None
) -> None:
    """Set up all logging of the process. May be called again; the last call counts.

    Parameters
    ----------
    level
        DEBUG, INFO, WARNING or ERROR.
    format
        ``console`` for people (coloured on a terminal), ``json`` for one object a line. Also of the file.
    file
        A file to write the lines to as well, of at most `FILES` times `FILE_BYTES_MAX` bytes; None for no file.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    import structlog

    from daedalus.cli.log_folding import Folding

    handlers: list[logging.Handler] = [_stderr_handler(format)]
    if file is not None:
        handlers.append(_file_handler(file, format))
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "daedalus", False):
            root.removeHandler(old)
            old.close()
    folding = Folding()
    for handler in handlers:
        handler.addFilter(folding)
        handler.daedalus = True  # type: ignore[attr-defined]
        root.addHandler(handler)
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _shared() -> "list[Processor]":
    import structlog

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        redact,
    ]


def _stamp(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take the time of the record, so that every handler writes the same one."""
    made = dt.datetime.fromtimestamp(event["_record"].created, dt.UTC)
    return {"timestamp": made.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **event}


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide the values of telling names, also inside mappings (a structlog processor)."""
    return {name: _clean(str(name), value) for name, value in event.items()}


def _clean(name: str, value: object) -> object:
    if value is not None and not isinstance(value, bool) and _TELLING.search(name):
        return HIDDEN
    if isinstance(value, dict):
        return {inner: _clean(str(inner), one) for inner, one in value.items()}
    return value


def _formatter(format: Literal["console", "json"], colors: bool) -> logging.Formatter:
    import structlog

    last: list[Processor] = [_stamp, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if format == "json":
        last += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
    else:
        # Plain tracebacks: the pretty ones print local variables, and with them secrets.
        last += [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=last)


def _stderr_handler(format: Literal["console", "json"]) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(format, colors=sys.stderr.isatty()))
    return handler


def _file_handler(file: Path, format: Literal["console", "json"]) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=FILE_BYTES_MAX, backupCount=FILES - 1, encoding="utf-8"
        )
    except OSError as error:
        raise ConfigError(f"logging.file: {file} cannot be written: {error.strerror}") from None
    handler.setFormatter(_formatter(format, colors=False))
    return handler
