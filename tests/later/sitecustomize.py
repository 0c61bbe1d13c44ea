"""Makes Python sleep under libfaketime: Python imports this first from a directory on PYTHONPATH.

Owns `time.sleep` of the run in the future; must not be on the path of any other. Since 3.11 Python sleeps until a point of the
monotonic clock, and libfaketime up to 0.9.10 (Debian 12) moves that point although it was told to leave the clock alone.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
