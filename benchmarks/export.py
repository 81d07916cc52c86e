"""How long an export takes and how much memory: python benchmarks/export.py RUN [FORMAT ...]

Each format is one process, measured from outside: wall clock, processor time, and the largest resident
memory of it and its children. Prints one line per format.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main(run: str, formats: list[str]) -> None:
    """Export into a folder that is removed again."""
    print(f"{'format':<12} {'seconds':>8} {'cpu':>8} {'GiB':>6}  exit")
    for name in formats:
        with tempfile.TemporaryDirectory() as folder:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.monotonic()
            out = ["--format", name, "--out", str(Path(folder) / "out")]
            done = subprocess.run(
                [sys.executable, "-m", "alttrain_cli", "export", run, *out], stdout=subprocess.DEVNULL
            )
            seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{name:<12} {seconds:8.1f} {cpu:8.1f} {after.ru_maxrss / 2**20:6.2f}  {done.returncode}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["merged"])
