"""Keys and bytes: list, get, put-if-absent and delete over a disk or an object store."""
