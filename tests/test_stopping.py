"""Ctrl-C while worker processes start: one answer, by the process that the user sees."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from handbench.preparing.tasks import _interrupted_later


def work(seen: list[str]) -> None:
    """Send the signal, then start a process that tells which signals it hears."""
    with _interrupted_later():
        os.kill(os.getpid(), signal.SIGINT)
        child = [sys.executable, "-c", "print(open('/proc/self/status').read())"]
        seen.append(subprocess.run(child, capture_output=True, text=True, check=True).stdout)


def test_ctrl_c_waits_until_the_workers_stand():
    stop, seen = threading.Event(), []
    other = threading.Thread(target=stop.wait)  # takes the signal that this thread has blocked
    other.start()
    with pytest.raises(KeyboardInterrupt):
        work(seen)
    stop.set()
    other.join()
    blocked = re.search(r"SigBlk:\s*(\w+)", seen[0])
    assert blocked is not None and int(blocked[1], 16) >> signal.SIGINT - 1 & 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
