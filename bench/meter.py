"""What processes cost: processor time and memory of everything that one contender started.

Where a control group can be made (as root; version 1 or 2), a contender gets one, and nothing it starts is missed.
Elsewhere its processes and their children are asked, and a child that nobody waits for is lost.
"""
import os
import threading
import time
from pathlib import Path

VERSION_1 = Path("/sys/fs/cgroup/cpuacct")
VERSION_2 = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 0.2
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _home():
    if (VERSION_1 / "cpuacct.usage").exists():
        return VERSION_1
    return VERSION_2 if (VERSION_2 / "cgroup.controllers").exists() else None


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text(encoding="ascii").split()]
        except OSError:
            pass  # it ended meanwhile
    return found


class Meter:
    """One contender's processes. adopt() each of them right after its start, or run it behind enter()."""

    def __init__(self, name):
        self.pids, self.group = [], None
        home = _home()
        if home is not None:
            try:
                self.group = home / f"submitd-bench-{os.getpid()}-{name}"
                self.group.mkdir()
            except OSError:
                self.group = None

    def adopt(self, pid):
        self.pids.append(pid)
        if self.group:
            (self.group / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def enter(self):
        """In the child, before the program begins: subprocess's preexec_fn."""
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def processes(self):
        if self.group:
            return [int(line) for line in (self.group / "cgroup.procs").read_text(encoding="ascii").split()]
        found, new = [], list(self.pids)
        while new:
            found += new
            new = [child for pid in new for child in children(pid)]
        return found

    def cpu_seconds(self):
        if self.group and self.group.parent == VERSION_1:
            return int((self.group / "cpuacct.usage").read_text(encoding="ascii")) / 1e9
        if self.group:
            stat = (self.group / "cpu.stat").read_text(encoding="ascii").split()
            return int(stat[stat.index("usage_usec") + 1]) / 1e6
        return sum(self._ticks(pid) for pid in self.processes()) / TICK

    @staticmethod
    def _ticks(pid):
        """Its own and that of children it has waited for."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0
        return sum(int(field) for field in fields[11:15])

    def memory(self):
        """Octets resident now; a page that two processes share counts twice."""
        total = 0
        for pid in self.processes():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
            except OSError:
                pass
        return total

    def close(self):
        end = time.monotonic() + 5
        while self.group and time.monotonic() < end:
            try:
                self.group.rmdir()
                return
            except OSError:
                time.sleep(0.05)  # a process still ends


class Peak:
    """The highest memory() of a meter while the block runs."""

    def __init__(self, meter):
        self.meter, self.highest = meter, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.over.wait(SAMPLE_SECONDS):
            self.highest = max(self.highest, self.meter.memory())

    def __enter__(self):
        self.highest = self.meter.memory()
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        self.highest = max(self.highest, self.meter.memory())
