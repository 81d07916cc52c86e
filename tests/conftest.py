"""One torch thread: two on two cores, with anything beside them, are 20 times slower."""

import os
import signal

from tests.serving import server  # noqa: F401  # started once for all modules that ask for it

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("COLUMNS", "100")

# Where the tests run in the background, SIGINT is ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
