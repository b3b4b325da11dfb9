"""The box itself: what other tests rely on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.box import CGROUPS, PREFIX, Box, Failed, make_image, wait_until


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Box:
    image = tmp_path_factory.mktemp("box") / "box.img"
    make_image(image)
    return Box(image, "first")


def groups() -> list[Path]:
    return list(CGROUPS.glob(f"**/{PREFIX}{os.getpid()}-*"))


def test_a_box_runs_systemd_keeps_what_it_wrote_over_a_reboot_and_leaves_nothing(empty: Box) -> None:
    with empty as box:
        assert box.do("cat", "/proc/1/comm") == "systemd"
        assert box.do("hostname") == "first"
        assert box.do("systemctl", "is-system-running") == "running"
        assert groups()
        box.write("/var/tmp/skipjack-box-mark", "kept")
        box.reboot()
        assert box.do("cat", "/var/tmp/skipjack-box-mark") == "kept"
        box.cut_power()
        box.boot()
        assert box.do("cat", "/var/tmp/skipjack-box-mark") == "kept"
    assert not Path("/var/tmp/skipjack-box-mark").exists(), "the machine below was written"
    assert not Path(f"/proc/{box.pid}").exists()
    assert groups() == []
    assert str(box.image) not in subprocess.run(["losetup", "-l"], check=True, capture_output=True, text=True).stdout


def test_a_command_runs_as_a_user_within_the_box_and_its_exit_code_is_returned(empty: Box) -> None:
    with empty as box:
        assert box.do("id", "-un", user="nobody") == "nobody"
        assert box.do("stat", "-f", "-c", "%T", "/sys/fs/cgroup/memory", user="nobody") == "cgroupfs"
        assert "exec" in box.do("cat", "/proc/self/cgroup")
        assert box.run("sh", "-c", "exit 7").returncode == 7
        with pytest.raises(Failed, match="exited with 3"):
            box.shell("exit 3")
        assert box.run("ping", "-c1", "-W1", "192.0.2.1").returncode != 0, "the box has a network"


KILLED = """
import sys, time
from pathlib import Path
from tests.system.box import Box
box = Box(Path(sys.argv[1]))
box.boot()
print(box.pid, flush=True)
time.sleep(1000)
"""


def test_a_box_ends_with_the_tests_and_the_next_one_cleans_up(empty: Box) -> None:
    words = [sys.executable, "-c", KILLED, str(empty.image)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as tests:
        assert tests.stdout is not None
        first = Path(f"/proc/{int(tests.stdout.readline())}")
        assert first.exists()
        tests.send_signal(signal.SIGKILL)
    wait_until(lambda: not first.exists(), "the box is gone")
    with empty:
        assert list(CGROUPS.glob(f"**/{PREFIX}{tests.pid}-*")) == []
