"""The HTTP edge: bytes to values and back, and nothing that decides."""

import os

# Before numpy is imported: matrices of a hundred rows gain nothing from threads; on a busy machine they lose a lot.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
