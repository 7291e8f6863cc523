"""Quality: how far the recorded rows of each market, channel and hour can be trusted, and why not."""
