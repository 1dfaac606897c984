"""bench/run still works: what it says of speed is not looked at here."""
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"messages", "rate", "p50_ms", "p99_ms", "cpu", "cpu_own", "rss_mb"}


def test_it_measures_everything_of_ours(request, tmp_path):
    result = tmp_path / "result.json"
    build = Path(request.config.getoption("--build")).resolve()
    run = subprocess.run([ROOT / "bench" / "run", "--smoke", "--build", str(build), "--json", str(result)],
                         capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    written = json.loads(result.read_text(encoding="utf-8"))
    cells = written["cells"]
    if os.geteuid() == 0:
        assert written["conditions"]["network"] == "tcp_congestion_control = cubic"
    measured = {(cell["contender"], cell["round_trip_ms"]) for cell in cells}
    ours = {"relay-new", "relay-kept", "relay-pipelined", "relay-defer", "queue", "direct-new", "direct-kept"}
    assert measured == {(name, trip) for name in ours for trip in (0, 4)}
    for cell in cells:
        assert FIELDS <= cell["median"].keys()
        assert cell["median"]["messages"] > 0 and cell["median"]["cpu"] > 0, cell
