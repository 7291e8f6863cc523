"""File systems made for a test, where this process may mount."""

import contextlib
import subprocess

import pytest


def _mount(*arguments, target):
    target.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")


@contextlib.contextmanager
def mounted(*arguments, target):
    """Mount for a while, as `mount ARGUMENTS TARGET` does; skip the test where that is not allowed."""
    try:
        _mount(*arguments, target=target)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", str(target)], check=False)


def ext4_image(path, megabytes):
    """Make an ext4 file system in a file; skip the test where there is no mkfs."""
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(megabytes << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 image can be made here: {error}")
    return path
