"""Ten rounds of tests/crash/run: submitd is killed under load, and nothing that it answered for is lost."""
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240


@pytest.mark.parametrize("mode", ["both", "defer"])
def test_nothing_is_lost_in_ten_rounds(submitd_program, tmp_path, mode):
    command = ["/usr/bin/python3", str(ROOT / "tests" / "crash" / "run"), "--rounds", "10", "--seed", "1", "--mode",
               mode, "--build", str(Path(submitd_program).parent), "--dir", str(tmp_path / "crash")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
