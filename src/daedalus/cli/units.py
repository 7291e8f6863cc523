"""systemd units of the programs: text only, so that they can be shown, checked and written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Limits for a Raspberry Pi 4 with 4 GB: the recorder takes 150 to 300 MB, its sealer 200 MB for seconds, a watcher
#: what an hour of features needs. A limit is where something is wrong, not where it is tight.
_MEMORY = {"collector": ("900M", "1200M"), "sync": ("400M", "600M"), "watcher": ("1200M", "1500M")}
#: Longer than the recorder waits for its last journals (600 s).
_STOP_S = 660
_WATCHDOG_S = 180


@dataclass(frozen=True)
class Place:
    """Where and as whom the programs run.

    Parameters
    ----------
    directory
        What relative directories of the settings are relative to.
    is_user
        Whether the user's own service manager runs them, not the machine's.
    account
        The account, for the machine's service manager.
    """

    directory: Path
    is_user: bool
    account: str | None = None


def collector_unit(place: Place, command: Sequence[str]) -> str:
    """Return the recorder's unit: started first, ended in order, started anew when it hangs."""
    lines = [
        "Type=notify",
        # A journal that is being sealed is the recorder's to end.
        "KillMode=mixed",
        f"TimeoutStopSec={_STOP_S}",
        "TimeoutStartSec=120",
        f"WatchdogSec={_WATCHDOG_S}",
        "Restart=always",
        "RestartSec=10",
        # Wrong settings stay wrong.
        "RestartPreventExitStatus=2",
        "CPUWeight=500",
        "IOWeight=500",
    ]
    if not place.is_user:
        lines.append("OOMScoreAdjust=-500")
    return _unit("records markets", "collector", place, command, lines, is_enabled=True)


def watcher_unit(place: Place, source: str, command: Sequence[str]) -> str:
    """Return a watcher's unit: behind recording in everything."""
    lines = [
        "Type=exec",
        "TimeoutStopSec=120",
        "Restart=always",
        "RestartSec=30",
        "RestartPreventExitStatus=2",
        *_BEHIND,
    ]
    return _unit(
        f"computes features of {source} as they are recorded", "watcher", place, command, lines, is_enabled=True
    )


def sync_unit(place: Place, command: Sequence[str]) -> str:
    """Return the unit of one run of the sync; its timer starts it."""
    lines = ["Type=oneshot", "TimeoutStartSec=infinity", "TimeoutStopSec=120", *_BEHIND]
    return _unit("uploads what was recorded", "sync", place, command, lines, is_enabled=False)


def sync_timer(interval_s: float) -> str:
    """Return the timer of the sync: again so long after each end, never two at once."""
    return "\n".join(
        [
            "[Unit]",
            "Description=Daedalus uploads what was recorded, again and again",
            "",
            "[Timer]",
            "OnActiveSec=60",
            f"OnUnitInactiveSec={interval_s:.0f}",
            f"RandomizedDelaySec={min(60.0, interval_s / 10):.0f}",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


_BEHIND = ["Nice=10", "CPUWeight=50", "IOSchedulingClass=idle", "OOMScoreAdjust=500"]


def _unit(
    does: str, kind: str, place: Place, command: Sequence[str], service: Sequence[str], *, is_enabled: bool
) -> str:
    high, most = _MEMORY[kind]
    unit = [f"Description=Daedalus {does}", "StartLimitIntervalSec=0"]
    more = [f"MemoryHigh={high}", f"MemoryMax={most}"]
    if not place.is_user:
        unit += ["Wants=network-online.target", "After=network-online.target time-sync.target"]
        more += [f"User={place.account}"] if place.account else []
        more += ["NoNewPrivileges=yes", "ProtectSystem=full", "PrivateTmp=yes", "ProtectKernelTunables=yes"]
    target = "default.target" if place.is_user else "multi-user.target"
    parts = [
        ["[Unit]", *unit],
        [
            "[Service]",
            f"WorkingDirectory={_escaped(str(place.directory))}",
            f"ExecStart={' '.join(map(quoted, command))}",
            "Environment=PYTHONUNBUFFERED=1",
            *service,
            *more,
        ],
    ]
    if is_enabled:
        parts.append(["[Install]", f"WantedBy={target}"])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def quoted(word: str) -> str:
    """Return a word of a command as systemd reads it back.

    Examples
    --------
    >>> quoted("coinbase.symbols=[BTC-USD, ETH-USD]"), quoted("50%"), quoted("ingest")
    ('"coinbase.symbols=[BTC-USD, ETH-USD]"', '50%%', 'ingest')
    """
    text = _escaped(word).replace("$", "$$")
    if text and not set(text) & set(" \t\"'\\;"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
