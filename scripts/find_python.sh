#!/bin/sh
# Print the first of the named interpreters that is Python 3.11 or newer and can make virtual environments.
# Usage: sh scripts/find_python.sh python3 python3.12 ...
tried=""
for py in "$@"; do
    command -v "$py" >/dev/null 2>&1 || continue
    version=$("$py" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    if ! "$py" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        tried="$tried $py is $version, older than 3.11."
    elif ! "$py" -c 'import venv, ensurepip' 2>/dev/null; then
        tried="$tried $py is $version but has no venv module."
    else
        echo "$py"
        exit 0
    fi
done
{
    echo "setup: Daedalus needs Python 3.11 or newer with the venv module; found none.${tried}"
    echo "setup: on Debian, Ubuntu and Raspberry Pi OS: sudo apt install python3 python3-venv"
    echo "setup: or name an interpreter: make setup PYTHON=/path/to/python3.12"
} >&2
exit 1
