"""The site builds, warnings being errors: no dead links, nothing in the reference that is not there."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_the_site_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    guides = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"INDEX"}
    assert {path.stem for path in (tmp_path / "site").glob("*.html")} == guides | {"index", "404"}
    assert "open_lake" in (tmp_path / "site" / "reference" / "lake.html").read_text()


def test_the_index_names_every_guide() -> None:
    index = (ROOT / "docs" / "INDEX.md").read_text()
    guides = {path.name for path in (ROOT / "docs").glob("*.md")} - {"INDEX.md"}
    assert not {name for name in guides if f"({name})" not in index}
