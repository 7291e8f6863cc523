"""The house rules that a program can check: pins, targets, sizes, and nothing of one machine in the files."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"setup", "demo", "test", "check", "bench", "soak", "site", "clean", "lock", "help"}
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
ARCHITECTURE_LINES_MAX = 99
# Put together here, so that this file does not contain what it looks for.
REGISTRY_HOSTS = ["pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian.org"]
MACHINE_PATHS = ["/" + "work" + "/", str(ROOT) + "/"]


def canonical(requirement: str) -> str:
    """Return the normalised project name at the head of a requirement."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def constraint_entries() -> dict[str, str]:
    """Map each package of constraints.txt to its whole entry, hashes included."""
    text = (ROOT / "constraints.txt").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    entries = [entry for entry in re.split(r"\n(?=\S)", lines.strip()) if entry]
    return {canonical(entry): entry for entry in entries}


def repository_files() -> Iterator[Path]:
    """Files that git tracks or would track."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return (ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file())


def source_files() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.py"))


def test_constraints_cover_every_dependency() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = data["project"]["optional-dependencies"]
    wanted = [*data["build-system"]["requires"], *data["project"]["dependencies"], *itertools.chain(*extras.values())]
    missing = {canonical(requirement) for requirement in wanted} - constraint_entries().keys()
    assert not missing, f"run `make lock`: constraints.txt lacks {sorted(missing)}"


def test_constraints_are_pinned_and_hashed() -> None:
    entries = constraint_entries()
    assert entries
    loose = [name for name, entry in entries.items() if not re.match(r"[A-Za-z0-9._-]+==[^\s;\\]+", entry)]
    bare = [name for name, entry in entries.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)]
    assert not loose
    assert not bare


def test_constraints_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert not re.search(r"\bhttps?:|\bindex-url|\bfind-links", text)


def test_makefile_has_the_targets_and_describes_them() -> None:
    described = set(re.findall(r"^([a-z]+):.*## \S", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert described == TARGETS


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^make test\b", script.read_text(), re.MULTILINE)


def test_architecture_stays_short() -> None:
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    assert len(lines) <= ARCHITECTURE_LINES_MAX


def test_every_package_is_on_the_map() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = {path.parent.name for path in (ROOT / "src" / "daedalus").glob("*/__init__.py")}
    assert not {name for name in packages if f"`{name}/" not in text}


def test_no_file_names_this_machine_or_a_registry() -> None:
    found = []
    for path in repository_files():
        content = path.read_bytes()
        found += [
            f"{path.relative_to(ROOT)}: {word}" for word in MACHINE_PATHS + REGISTRY_HOSTS if word.encode() in content
        ]
    assert not found


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_source_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= FILE_LINES_MAX, f"{lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} (line {node.lineno}) has {length} lines"
