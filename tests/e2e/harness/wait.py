"""Polling, so that no test sleeps longer than it must."""
import time

STEP = 0.02


def until(check, timeout=10.0, what="the condition"):
    """Returns check()'s first true value; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(STEP)
