"""A command under `daedalus run`, as `python -m daedalus.cli.supervised WORDS`: it ends in order when `run` is killed.

Its stdin is a pipe that nothing is written to. The system closes it when the supervisor dies, however it dies.
"""

import os
import signal
import threading

from daedalus.cli.main import main

_STDIN, _STDERR = 0, 2


def end_with_supervisor() -> None:
    """Wait until stdin ends, then tell this process to stop, as SIGTERM does."""
    while os.read(_STDIN, 1):
        pass
    # Its reader is gone too: a line that cannot be written must not spoil the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_supervisor, name="supervisor", daemon=True).start()
    main()
