"""tests/crash: ten rounds of killing submitd under load; and that its judge sees what must not be."""
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from judge import Judge  # noqa: E402
from ledger import Fate, Ledger  # noqa: E402

SECONDS = 300
RECEIVED = b"Received: from x by y;\r\n Sat, 21 Nov 2026 22:06:22 +0000\r\n"


@pytest.mark.parametrize("mode", ["both", "defer"])
def test_nothing_is_lost_in_ten_rounds(submitd_program, tmp_path, mode):
    command = ["/usr/bin/python3", str(ROOT / "tests" / "crash" / "run"), "--rounds", "10", "--seed", "1", "--mode",
               mode, "--build", str(Path(submitd_program).parent), "--dir", str(tmp_path / "crash")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


class Trial:
    """A ledger with one message, and an upstream's mail made by hand."""

    def __init__(self, directory):
        self.ledger = Ledger("trial")
        self.entry, self.text = self.ledger.new(random.Random(1))
        self.entry.recipients = self.entry.taken = ["to0.0@crash.example"]
        self.ledger.settle(self.entry, 250, "2.0.0 queued as x")
        self.judge = Judge(self.ledger, directory, 0)

    def arrive(self, text=None, *, recipients=None, session=1):
        number = len(list(self.judge.maildir.glob("*.json"))) + 1
        facts = {"number": number, "session": session, "client_port": session, "from": self.entry.sender,
                 "recipients": [{"address": a} for a in recipients or self.entry.recipients]}
        (self.judge.maildir / f"{number}.eml").write_bytes(RECEIVED + (self.text if text is None else text))
        path = self.judge.maildir / f"{number}.json"
        path.write_text(json.dumps(facts), encoding="ascii")
        return path.stat().st_mtime

    def problems(self):
        self.judge.collect()
        self.judge.verdict()
        return " / ".join(self.judge.problems)


@pytest.fixture(name="trial")
def fixture_trial(tmp_path):
    return Trial(tmp_path)


def test_judge_is_content_with_one_copy(trial):
    trial.arrive()
    assert trial.problems() == ""


def test_judge_sees_a_lost_message(trial):
    assert "LOST" in trial.problems()


def test_judge_sees_a_lost_recipient(trial):
    trial.entry.recipients.append("to1.0@crash.example")
    trial.arrive(recipients=["to0.0@crash.example"])
    assert "LOST" in trial.problems()


def test_judge_asks_nothing_of_a_message_without_an_answer(trial):
    trial.entry.fate = Fate.UNKNOWN
    assert trial.problems() == ""


def test_judge_sees_a_truncated_message(trial):
    trial.arrive(trial.text[:-20])
    assert "is truncated" in trial.problems()


def test_judge_sees_one_changed_octet(trial):
    trial.arrive(trial.text[:-5] + b"!" + trial.text[-4:])
    assert "differs" in trial.problems()


def test_judge_sees_what_nobody_sent(trial):
    trial.arrive()
    trial.arrive(trial.text.replace(b"<0.trial", b"<1.trial"))
    assert "nobody sent" in trial.problems()


def test_judge_sees_what_was_never_finished(trial):
    trial.entry.fate = Fate.ABORTED
    trial.arrive()
    assert "never finished" in trial.problems()


def test_judge_sees_a_second_copy_without_a_reason(trial):
    trial.arrive()
    trial.arrive()
    assert "without a reason" in trial.problems()


def test_judge_excuses_a_second_copy_behind_a_cut(trial):
    when = trial.arrive(session=1)
    trial.arrive(session=2)
    trial.judge.links[1] = [{"began": when - 1, "ended": when + 1, "end": "cut", "held": False}]
    assert trial.problems() == "" and trial.judge.counts["duplicates"] == 1


def test_judge_excuses_no_copy_that_was_not_the_last_before_the_cut(trial):
    when = trial.arrive(session=1)
    trial.arrive(session=1)
    trial.judge.links[1] = [{"began": when - 1, "ended": when + 1, "end": "cut", "held": False}]
    assert "without a reason" in trial.problems()


@pytest.mark.parametrize("seconds, is_excused", [(0.5, True), (-5, False), (5, False)])
def test_judge_excuses_a_second_copy_around_a_kill(trial, seconds, is_excused):
    first = trial.arrive()
    trial.arrive()
    again = trial.judge.maildir / "2.json"
    os.utime(again, (first + 60, first + 60))
    trial.judge.kills = [first + seconds]
    assert (trial.problems() == "") == is_excused
