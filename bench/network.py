"""A network of the benchmark's own: nothing but the loopback interface, with Linux's usual settings.

What the machine has set for its real connections decides how the loopback behaves, too. With tcp_congestion_control = bbr,
which paces, submitd was 9 to 17 times as fast as Postfix on a machine where it was 24 times with cubic, the default.
"""
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

CLONE_NEWNET = 0x40000000
CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
USUAL = "cubic"


def enter():
    """For this process and all that it starts from now on. Only root may; others stay in the machine's network."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or not shutil.which("ip") or libc.unshare(CLONE_NEWNET) != 0:
        return
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        CONGESTION_CONTROL.write_text(USUAL, encoding="ascii")
    except OSError:
        pass  # facts() says what is used


def facts():
    try:
        return f"tcp_congestion_control = {CONGESTION_CONTROL.read_text(encoding='ascii').strip()}"
    except OSError:
        return "unknown"
