import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.growth import time_ms
from benchmarks.marks import Mark, first_begins, marks_of, rate
from benchmarks.objectives import memory_of
from benchmarks.peers import Peer

ROOT = Path(__file__).parents[2]

NESTED = """
from benchmarks.marks import marked
with marked(1), marked(2):
    pass
"""


def test_marks_of_another_process_come_in_the_order_in_which_they_began() -> None:
    marks = marks_of(lambda: subprocess.run([sys.executable, "-c", NESTED], cwd=ROOT, check=True))
    assert [mark.trial for mark in marks] == [1, 2]
    assert marks[0].began <= marks[1].began <= marks[1].ended <= marks[0].ended


def test_a_trial_that_goes_on_began_once() -> None:
    marks = [Mark(0, 1.0, 2.0), Mark(1, 1.5, 2.0), Mark(0, 3.0, 4.0), Mark(2, 5.0, 6.0)]
    assert first_begins(marks) == [1.0, 1.5, 5.0]


def test_a_rate_leaves_out_what_came_before_the_first_trial() -> None:
    assert rate([Mark(0, 100.0, 100.1), Mark(1, 100.5, 100.6), Mark(2, 101.0, 109.0)]) == pytest.approx(2.0)


def test_time_a_trial_is_that_of_the_last_thousand() -> None:
    begins = [float(n) for n in range(1000)] + [1000 + 2.0 * n for n in range(1000)]
    assert time_ms(begins, 1000) == pytest.approx(1000)
    assert time_ms(begins, 2000) == pytest.approx(2000)


def test_memory_of_a_process_is_what_the_system_says() -> None:
    assert memory_of(os.getpid()) == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


@pytest.mark.parametrize("storage", ["memory", "journal"])
def test_optuna_runs_as_many_trials_as_it_is_told(storage: str) -> None:
    assert len(Peer("Optuna", "optuna", ("tpe", storage, "7")).marks()) == 7


def test_a_peer_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Optuna failed.*KeyError: 'tape'"):
        Peer("Optuna", "optuna", ("random", "tape", "7")).marks()


def test_a_peer_that_is_not_installed_has_no_marks() -> None:
    assert Peer("Nobody", "nobody_at_all", ()).marks() == []


def test_a_mark_is_as_long_as_what_it_marks() -> None:
    script = "from benchmarks.marks import marked\nimport time\nwith marked():\n    time.sleep(0.1)\n"
    [mark] = marks_of(lambda: subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True))
    assert mark.ended - mark.began >= 0.1
