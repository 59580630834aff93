"""The HTTP edge: bytes to values and back, and nothing that decides."""
