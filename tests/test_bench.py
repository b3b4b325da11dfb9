"""The comparison of two versions: what it measures, and what it makes of the figures."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench import compare, sides, usage
from tests.bench.scenario import RATE, Scenario
from tests.e2e.parts import PATIENCE, REPOSITORY, alive

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_processes_that_a_command_leaves_behind_count_as_its_own() -> None:
    alone = usage.of_tree([sys.executable, "-c", "pass"])
    behind = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}], start_new_session=True)"
    both = usage.of_tree([sys.executable, "-c", behind])
    assert both[usage.CPU] >= alone[usage.CPU] / 2 + 300


def test_bytes_that_a_command_writes_are_counted(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'file')!r}, 'wb').write(b'x' * 123456)"
    assert 123456 <= usage.of_tree([sys.executable, "-I", "-c", code])[usage.WRITTEN] < 200_000


def test_a_command_that_fails_is_not_a_figure() -> None:
    with pytest.raises(RuntimeError, match="it broke"):
        usage.of_tree([sys.executable, "-c", "import sys; sys.exit('it broke')"])


def test_the_cpu_time_of_another_process_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", BURN + "\ntime.sleep(600)"]) as process:
        try:
            deadline = time.monotonic() + 100
            while usage.cpu(process.pid) < 0.3 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert usage.cpu(process.pid) >= 0.3
        finally:
            process.kill()


def test_both_take_turns_and_the_order_changes() -> None:
    turns: list[str] = []

    def old() -> usage.Figures:
        turns.append("old")
        return {usage.CPU: 2.0 + len(turns), usage.FSYNCS: 0}

    def new() -> usage.Figures:
        turns.append("new")
        return {usage.CPU: 3.0, usage.FSYNCS: 1}

    scenario = Scenario("x", old, old), Scenario("x", new, new)
    cpu, fsyncs = compare.lines(scenario[0].costs, scenario[1].costs, 3)
    assert turns == ["old", "new", "old", "new", "new", "old", "old", "new"]
    assert (cpu.old, cpu.new, cpu.ratios[1]) == (8.0, 3.0, 3.0 / 8.0)
    assert fsyncs.ratios[1] == float("inf")


SERVING = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from tests.bench import compare
from tests.bench.scenario import Scenario
from tests.e2e.parts import Server

folder = Path(sys.argv.pop())

def work():  # in naps: Python notices a signal late that comes just before a system call
    for _ in range(6000):
        time.sleep(0.1)

@contextmanager
def part(side):
    with Server([sys.executable, "-c", "import time; time.sleep(600)"], folder / side.label) as server:
        print("server", server.process.pid, flush=True)
        yield [Scenario(side.label, work, dict)]

sides = SimpleNamespace(label="old"), SimpleNamespace(label="new")
compare.prepare, compare.PARTS = lambda *_: sides, {"tick": part}
compare.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_servers_of_a_comparison(tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-c", SERVING, "--old", "x", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as comparison:
        assert comparison.stdout is not None
        lines = (line.split() for line in comparison.stdout)
        servers = [int(line[1]) for line in itertools.islice((line for line in lines if line[:1] == ["server"]), 2)]
        comparison.send_signal(number)
        comparison.communicate(timeout=PATIENCE)
    assert comparison.returncode == 128 + number
    assert len(servers) == 2
    assert not any(alive(server) for server in servers)


@pytest.mark.parametrize(
    ("figure", "ratio", "marked"), [(usage.CPU, 1.11, True), (usage.CPU, 1.1, False), (RATE, 2.0, False)]
)
def test_a_cost_of_more_than_a_tenth_more_is_marked(
    figure: str, ratio: float, marked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.show(compare.Line(figure, 1.0, ratio, (ratio, ratio, ratio))) is marked
    assert ("<-- above 1.1" in capsys.readouterr().out) is marked


def test_the_old_commit_runs_its_own_code(tmp_path: Path) -> None:
    """In a repository of its own, so that it needs nothing of the one that these tests are part of."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "cli.py").write_text("def main():\n    print('old')\n")
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True, env=os.environ | {"HOME": str(tmp_path)})
    (tmp_path / "runner" / "cli.py").write_text("def main():\n    print('new')\n")
    old, new = sides.prepare(tmp_path / "build", "HEAD", tmp_path)
    assert [side.do(*side.words("skipjack")) for side in (old, new)] == ["old\n", "new\n"]
    assert "PyYAML" in old.do(
        str(old.python), "-c", "import importlib.metadata as m; print(m.metadata('pyyaml')['Name'])"
    )
