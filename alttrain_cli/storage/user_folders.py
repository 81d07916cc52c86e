"""Where alttrain keeps files of its own on this computer, outside of runs."""

from pathlib import Path

import platformdirs

CACHE = Path(platformdirs.user_cache_dir("alttrain", appauthor=False))  # can be made again
STATE = Path(platformdirs.user_state_dir("alttrain", appauthor=False))
