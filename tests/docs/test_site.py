"""The site builds, warnings being errors: no dead links, nothing in the reference that is not there."""

import re
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


def test_the_index_and_the_menu_name_every_guide() -> None:
    index, menu = (ROOT / "docs" / "INDEX.md").read_text(), (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    guides = {path.name for path in (ROOT / "docs").glob("*.md")} - {"INDEX.md"}
    assert not {name for name in guides if f"({name})" not in index}
    assert not {name for name in guides if not re.search(rf"\b{name}\b", menu)}
