"""The real servers of tests/lab: Postfix with Dovecot and winbindd, Postfix with Cyrus SASL."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from .net import free_port
from .upstream import Upstream

LAB = Path(__file__).resolve().parents[2] / "lab"
NOT_AVAILABLE = 77


class Lab(Upstream):
    """One real server, up until stop()."""

    def __init__(self, sasl):
        # not under pytest's own directory: the users postfix and nobody must get through
        self.state = tempfile.mkdtemp(prefix="submitd-lab.", dir="/tmp")
        port = free_port()
        self.env = {**os.environ, "LAB": self.state, "PORT": str(port), "SASL": sasl}
        try:
            values = self._start(sasl)
        except BaseException:  # also when the run is interrupted meanwhile
            self.stop()
            raise
        super().__init__(port=port, ca=Path(values["CA"]), maildir=Path(values["MAILDIR"]))

    def _start(self, sasl):
        run = subprocess.run([LAB / "up"], env=self.env, capture_output=True, text=True, check=False)
        if run.returncode == NOT_AVAILABLE:
            pytest.skip(f"no {sasl} server: {run.stderr.strip()}")
        if run.returncode != 0:
            raise AssertionError(f"tests/lab/up failed: {run.stderr}")
        return dict(line.split("=", 1) for line in run.stdout.splitlines())

    def stop(self):
        subprocess.run([LAB / "down"], env={**self.env, "PURGE": "1"}, check=False)
        shutil.rmtree(self.state, ignore_errors=True)
