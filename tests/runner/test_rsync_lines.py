"""A definition's rsync command line is checked again right before it starts, since an upstream can create links."""

from pathlib import Path

import pytest

from runner.base.mirror_paths import Paths
from runner.base.output import log
from runner.base.rsync_lines import is_own
from runner.hooks import exec_commands
from runner.plugin_api import Abort, CannotRun, Command, Job, Machine
from runner.providers import command
from schemas.records import Mirror


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "m/real").mkdir(parents=True)
    (tmp_path / "m/link").symlink_to(tmp_path)
    return tmp_path / "m"


def job_of(directory: Path, *, judged: bool = True, **fields: object) -> Job:
    mirror = Mirror("m", "w1", "command", "x")._replace(**fields)  # type: ignore[arg-type]
    root = str(directory.parent)
    return Job(mirror, Paths(str(directory), root, f"{root}/logs"), Machine(judged=judged))


@pytest.mark.parametrize("path", ["link", "link/x"])
def test_a_command_that_would_pass_through_a_link_is_not_started(directory: Path, path: str) -> None:
    line = f"/usr/bin/rsync -a rsync://h.example/x/ {path}"
    with pytest.raises(Abort, match="leads out of"):
        list(command.commands(job_of(directory, command=line)))
    assert list(command.commands(job_of(directory, command=line, judged=False))), "where any program may run"
    assert list(command.commands(job_of(directory, command=line, docker_image="x"))), "it runs in a container"
    assert list(command.commands(job_of(directory, command=line.replace(path, "real"))))


def test_a_line_after_a_success_that_would_pass_through_a_link_is_not_started(directory: Path) -> None:
    started: list[Command] = []

    def execute(each: Command, _timeout: float | None) -> int:
        started.append(each)
        raise CannotRun("not here")

    lines = ("/usr/bin/rsync -a link/ rsync://h.example/x/", "/usr/bin/rsync -a . rsync://h.example/x/")
    job = job_of(directory, exec_on_success=lines)
    job.execute = execute
    exec_commands.post_success(job)
    assert [each.argv[2] for each in started] == ["."]
    assert "was not started: rsync would reach `link/`" in job.complaints[0]


def test_a_directory_that_is_a_link_itself_is_the_mirrors_own(directory: Path) -> None:
    above = directory.parent / "alias"
    above.symlink_to(directory)
    for path in (".", f"{above}/", f"{above}/real", f"{directory}/real"):
        assert is_own(path, str(above)), path
    assert not is_own(f"{above}/link/x", str(above))


def test_a_refused_line_is_shown_without_secrets(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_of(directory, exec_on_success=("/bin/x https://me:hush@h.example/?key=hush2",))
    job.log_file = str(directory.parent / "log")
    exec_commands.post_success(job)
    [complaint] = job.complaints
    log(f"after it: https://me:hush@h.example/?key=hush2 {complaint}", about="m")
    said = Path(job.log_file).read_text() + complaint + capsys.readouterr().err
    assert "running /bin/x https://h.example/?***" in said
    assert "m: after it: https://h.example/?***" in said
    assert "hush" not in said


def test_a_command_line_with_an_option_that_is_not_known_is_not_started(directory: Path) -> None:
    """A newer rsync may know it, and read a file that stands behind it."""
    words = ("/usr/bin/rsync", "-a", "--newer", "--exclude-from=/x", "rsync://h.example/x/", ".")
    expected = "the options of rsync cannot be judged from `--newer` on (unknown)"
    assert job_of(directory).refusal(words) == expected
    assert job_of(directory, judged=False).refusal(words) == ""
