"""What the machine lets this process use."""

import os


def usable_cores() -> int:
    """How many cores this process may run on: fewer than there are under taskset or a scheduler."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows keep no such list
