"""submitd.exe under Wine: --build=build/windows. The servers are the Linux ones of build/release."""
import atexit
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .daemon import Submitd

ROOT = Path(__file__).resolve().parents[3]
WINE = ROOT / "tests" / "windows" / "wine"


def is_build(build):
    return (build / "submitd.exe").exists()


def prefix(build):
    """The Windows that the tests of this build run in; the unit tests use it, too."""
    return Path(os.environ.get("WINEPREFIX") or build / "wine")


def program(build, name):
    """A program that is started like submitd on Linux and becomes submitd.exe."""
    if name != "submitd":
        return str(ROOT / "build" / "release" / name)
    os.environ["WINEPREFIX"] = str(prefix(build))
    Submitd.stop_signal = signal.SIGINT
    folder = Path(tempfile.mkdtemp(prefix="submitd-wine-"))
    atexit.register(shutil.rmtree, folder)
    script = folder / name
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(WINE))} {shlex.quote(str(build / "submitd.exe"))} "$@"\n',
                      encoding="utf-8")
    script.chmod(0o755)
    subprocess.run([script, "version"], check=True, stdout=subprocess.DEVNULL)  # makes the prefix when there is none
    keep_running()
    return str(script)


def keep_running():
    """Without a program Wine ends, and one that starts in just that moment is told to go away."""
    keeper = subprocess.Popen([WINE, "cmd"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)

    def end():
        keeper.stdin.close()  # the end of what cmd reads
        try:
            keeper.wait(30)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
    atexit.register(end)
