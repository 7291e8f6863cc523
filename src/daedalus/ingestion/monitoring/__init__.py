"""What a running recorder tells about itself: a status file, metrics over HTTP, and signs of life for systemd."""
