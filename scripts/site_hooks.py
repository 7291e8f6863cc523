"""What the site does with the guides: INDEX.md is its first page."""

from mkdocs.structure.files import Files


def on_files(files: Files, config: object) -> Files:
    """Serve INDEX.md as index.html."""
    index = files.get_file_from_path("INDEX.md")
    if index is not None:
        index.dest_uri = index.url = "index.html"
    return files
