"""From bronze to silver and gold."""
