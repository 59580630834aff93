"""For all tests."""

import os

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: see conduit/routing/threads.py

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")
