"""Two settings files on one machine: the second never takes over units, a cron file or folders of the first."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import cli
from runner.install import cron, others, render, setup
from runner.install.setup import MANAGER, WORKER, Setup
from schemas.config.settings import load_manager, load_runner
from schemas.errors import SkipjackError
from schemas.records import Policy


@pytest.fixture(autouse=True)
def _etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "SYSTEM_UNITS", f"{tmp_path}/units")
    monkeypatch.setattr(others, "CRON_FILE", f"{tmp_path}/cron.d/skipjack")
    monkeypatch.setattr(cron, "_PROGRAMS", f"{tmp_path}/cron.d/skipjack")
    monkeypatch.setattr(Setup, "units", property(lambda it: others.SYSTEM_UNITS if not it.own else f"{tmp_path}/own"))


def worker(tmp_path: Path, name: str, *, own: bool = False, folders: str = "") -> Setup:
    """The installation of a worker whose settings are in a file of that name."""
    folders = folders or name
    path = tmp_path / f"{name}.yml"
    path.write_text(
        f"worker: w1\nrepository: {{url: 'file:///x'}}\nstate_dir: '/srv/{folders}'\nrun_dir: '/run/{folders}'\n"
    )
    return setup.of_worker(load_runner(path), Policy(), str(path), "mirror", own=own, containers=False)


def manager(tmp_path: Path, name: str) -> Setup:
    path = tmp_path / f"{name}.yml"
    path.write_text(f"state_dir: '/srv/{name}'\nrun_dir: '/run/{name}'\n")
    return setup.of_manager(load_manager(path), str(path), "mirror", own=False)


def install(installed: Setup) -> None:
    for path, text in render.files(installed).items():
        if path.startswith(installed.units):
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).write_text(text)


def put_cron(installed: Setup) -> None:
    path = Path(others.CRON_FILE)
    path.parent.mkdir(exist_ok=True)
    path.write_text(cron.cron(installed).partition(f"# {path}\n")[2])


def refusal(installed: Setup, file: str) -> str:
    with pytest.raises(SkipjackError) as caught:
        others.check_file(installed, file)
    return str(caught.value)


def check(installed: Setup) -> None:
    others.check_file(installed, others.unit_file(installed))
    others.check_folders(installed)


@pytest.mark.parametrize("name", ["first", 'a "b" $HOME 100%', "back\\slash"])
@pytest.mark.parametrize("kind", [WORKER, MANAGER])
def test_units_of_another_settings_file_are_reported_with_the_command_to_remove_them(
    tmp_path: Path, name: str, kind: str
) -> None:
    make = worker if kind == WORKER else manager
    first, second = make(tmp_path, name), make(tmp_path, "second")
    install(first)

    said = refusal(second, others.unit_file(second))

    assert said.startswith(f"{others.unit_file(second)} belongs to the {kind} with the settings {first.settings}. ")
    assert ("skipjack uninstall --manager --settings " if kind == MANAGER else "skipjack uninstall --settings ") in said
    check(first)
    install(second)  # whatever was there before
    assert first.settings not in refusal(first, others.unit_file(first)).partition(" A machine")[0]


def test_a_moved_settings_file_is_not_another_installation(tmp_path: Path) -> None:
    first = worker(tmp_path, "first")
    install(first)
    Path(first.settings).rename(tmp_path / "moved.yml")

    check(first._replace(settings=f"{tmp_path}/moved.yml"))

    (tmp_path / "first.yml").symlink_to("moved.yml")
    check(first._replace(settings=f"{tmp_path}/moved.yml"))


def test_cron_lines_of_another_settings_file_are_reported(tmp_path: Path) -> None:
    first, second = worker(tmp_path, "a 100% first"), worker(tmp_path, "second")
    put_cron(first)

    said = refusal(second, others.CRON_FILE)
    assert said.startswith(f"{others.CRON_FILE} belongs to the worker with the settings {first.settings}. Remove ")
    assert f"`skipjack install --cron --user --settings {second.settings}`" in said
    assert cli.main(["install", "--cron", "--user", "--settings", second.settings]) == 0
    others.check_file(first, others.CRON_FILE)
    check(second)  # its units do not collide with the cron lines of a worker that has other folders


@pytest.mark.parametrize("put", [install, put_cron])
@pytest.mark.parametrize("own", [True, False])
def test_folders_of_another_worker_are_reported(tmp_path: Path, put: Callable[[Setup], None], own: bool) -> None:
    put(worker(tmp_path, "first"))
    second = worker(tmp_path, "second", own=own, folders="first")
    with pytest.raises(SkipjackError, match=r"has the same `state_dir`, /srv/first\. Set another `state_dir` in "):
        others.check_folders(second)
    with pytest.raises(SkipjackError, match=r"has the same `run_dir`, /run/first\. Set another `run_dir` in "):
        others.check_folders(second._replace(state_dir="/srv/second"))
    others.check_folders(worker(tmp_path, "second", own=own))


def test_units_of_a_user_are_beside_those_of_the_system(tmp_path: Path) -> None:
    install(worker(tmp_path, "first"))
    mine = worker(tmp_path, "mine", own=True)
    check(mine)
    install(mine)
    assert "skipjack uninstall --user --settings" in refusal(worker(tmp_path, "more", own=True), others.unit_file(mine))


def test_files_of_other_programs_are_ignored(tmp_path: Path) -> None:
    second = worker(tmp_path, "second")
    install(worker(tmp_path, "first"))
    for text in ("", "\0\xff", "[Service]\nExecStart=/bin/true --settings\n", 'ExecStart="unclosed --settings x\n'):
        Path(others.unit_file(second)).write_text(text)
        check(second)
    (tmp_path / "cron.d").mkdir()
    Path(others.CRON_FILE).write_text("# --settings /x\n* * * * * me 'unclosed --settings\n")
    check(second)


def test_printing_cron_lines_for_a_second_worker_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = worker(tmp_path, "first"), worker(tmp_path, "second")
    put_cron(first)

    assert cli.main(["install", "--cron", "--settings", second.settings]) == 1

    said = capsys.readouterr()
    assert (said.out, f"belongs to the worker with the settings {first.settings}" in said.err) == ("", True)
