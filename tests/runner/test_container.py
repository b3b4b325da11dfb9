"""The command lines for docker and podman, and their failures. tests/system has tests with the real programs."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner import hooks
from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.containers import podman
from runner.hooks import container, container_end, container_left, control_group
from runner.journal import journal
from runner.journal.journal import Subject
from runner.plugin_api import Abort, Command, Job, Machine
from runner.providers import PROVIDERS
from runner.tick import crash_recovery
from schemas.records import Mirror, Secret

NOWHERE = "/nowhere/docker"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    layout = [tmp_path / "mirrors/debian", tmp_path / "mirrors", tmp_path / "logs"]
    for place in (*layout, tmp_path / "keys"):
        place.mkdir(parents=True, exist_ok=True)
    mirror = Mirror("debian", "w1", "command", "https://files.example/", command="sync it", docker_image="tools:3")
    machine = Machine(str(tmp_path / "state"), NOWHERE, volumes=(str(tmp_path / "keys"),))
    made = Job(mirror, Paths(*map(str, layout)), machine)
    made.ask = podman.ask
    return made


def change(job: Job, **fields: object) -> None:
    job.mirror = job.mirror._replace(**fields)  # type: ignore[arg-type]


def told(job: Job, command: Command | None = None, *, preview: bool = False) -> list[str]:
    """Return the arguments of the container program."""
    command = command or Command(("sync", "--now"), {}, job.directory)
    return list(container.enclosed(job, command, preview=preview).argv)


def values(words: list[str], option: str) -> list[str]:
    return [words[number + 1] for number, word in enumerate(words) if word == option]


def test_the_order_of_arguments_is_options_image_command(job: Job) -> None:
    change(job, docker_options=("--network=host", "--init"))
    own = f"{os.geteuid()}:{os.getegid()}"
    assert told(job) == [
        NOWHERE, "run", "--rm", "--attach", "stdout", "--attach", "stderr", "--log-driver", "none",
        "--stop-timeout", "2", "--name", container.name_of(job), "--workdir", job.directory, "--user", own,
        "--volume", f"{job.directory}:{job.directory}", "--volume", f"{job.log_dir}:{job.log_dir}",
        "--network=host", "--init", "tools:3", "sync", "--now",
    ]  # fmt: skip


def test_workers_of_one_machine_use_different_container_names(job: Job, tmp_path: Path) -> None:
    before = container.name_of(job)
    assert before.startswith("skipjack-debian-")
    (tmp_path / "link").symlink_to("state")
    job.machine = job.machine._replace(state_dir=str(tmp_path / "link"))
    assert container.name_of(job) == before, "it is the same worker"
    job.machine = job.machine._replace(state_dir=str(tmp_path / "other"))
    assert container.name_of(job) != before
    assert container.name_of(job, preview=True) not in (before, container.name_of(job))


def test_rootless_podman_keeps_the_id_of_the_user(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert values(told(job), "--userns") == []
    job.machine = job.machine._replace(container_program="/usr/bin/podman")
    assert values(told(job), "--userns") == ["keep-id"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert values(told(job), "--userns") == []


def test_limits_are_passed_in_bytes_and_processors(job: Job) -> None:
    assert values(told(job), "--memory") + values(told(job), "--cpus") == []
    change(job, memory_limit=64 * 1024**2, cpu_limit="25%")
    assert values(told(job), "--memory") + values(told(job), "--cpus") == ["67108864", "0.25"]
    change(job, cpu_limit="999999%")
    assert values(told(job), "--cpus") == [str(os.cpu_count())], "docker takes no more than there are"


def test_volumes_are_those_of_the_mirror_and_of_the_definition(job: Job, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("keys")
    volumes = (f"{tmp_path}/link:/keys:ro", "{directory}:/data", "{log_dir}:/log:rw")
    change(job, exclude_file="/etc/excluded", docker_volumes=volumes)
    directory, log_dir, keys = job.directory, job.log_dir, tmp_path / "keys"
    assert values(told(job), "--volume") == [
        f"{directory}:{directory}", f"{log_dir}:{log_dir}", "/etc/excluded:/etc/excluded:ro",
        f"{keys}:/keys:ro", f"{directory}:/data", f"{log_dir}:/log:rw",
    ]  # fmt: skip


def test_the_log_is_mounted_by_itself_so_that_no_link_can_take_its_place(job: Job) -> None:
    job.log_file = f"{job.log_dir}/debian.log"
    assert values(told(job), "--volume")[1:] == [f"{path}:{path}" for path in (job.log_dir, job.log_file)]
    assert len(values(told(job, preview=True), "--volume")) == 1


def test_the_container_of_a_dry_run_has_its_own_name_and_cannot_write(job: Job) -> None:
    change(job, docker_volumes=("{directory}:/data", "{directory}:/more:rw"))
    words = told(job, preview=True)
    assert values(words, "--name") == [container.name_of(job, preview=True)] != [container.name_of(job)]
    assert all(volume.endswith(":ro") for volume in values(words, "--volume"))
    assert not any(job.log_dir in word for word in words), "it need not be there yet"


def test_secrets_are_passed_through_the_environment_and_other_variables_by_value(job: Job, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    env = {"PATH": "/evil", "DOCKER_HOST": "tcp://evil.example", "WORD": "a b"}
    upstream = "rsync://rsync.example/debian/"
    change(job, provider="rsync", upstream=upstream, env=env, password=Secret(file=str(tmp_path / "password")))

    bare = next(PROVIDERS["rsync"].commands(job))
    wrapped = container.enclosed(job, bare)

    assert wrapped.env == {"RSYNC_PASSWORD": "open sesame"}
    given = values(list(wrapped.argv), "--env")
    assert given == ["PATH=/evil", "DOCKER_HOST=tcp://evil.example", "WORD=a b", "RSYNC_PASSWORD"]
    assert not any("open sesame" in word for word in wrapped.argv)
    assert wrapped.progress, "the output is still rsync's"
    assert wrapped.goes_on == bare.goes_on, "nor do its exit codes mean anything else"


def test_without_an_image_no_container_program_is_started(job: Job) -> None:
    change(job, docker_image="")
    for hook in hooks.of(job.mirror):
        assert hook is not container
    container_left.pre_exec(job)
    command = Command(("sync",), {}, job.directory)
    assert job.wrap(command) is command


def test_a_missing_container_program_ends_the_run_with_a_remedy(job: Job) -> None:
    with pytest.raises(Abort, match=r"/nowhere/docker was not found; .*correct `container_program`") as aborted:
        container.pre_exec(job)
    assert aborted.value.status == "failed"


def test_a_leftover_container_that_cannot_be_removed_ends_the_run(job: Job) -> None:
    marker = container_left.marker_of(job)
    container_end.write_marker(marker, NOWHERE, "skipjack-debian")
    change(job, docker_image="")
    with pytest.raises(Abort, match="cannot remove the container skipjack-debian of an earlier run"):
        container_left.pre_exec(job)
    assert container_end.read_marker(marker) == (NOWHERE, "skipjack-debian")


@pytest.mark.parametrize("content", ["", "/nowhere/docker", "/nowhere/docker\nskipjack-debian"])
def test_an_incomplete_marker_is_ignored(job: Job, content: str) -> None:
    """The container ended when the machine crashed."""
    marker = Path(container_left.marker_of(job))
    marker.parent.mkdir(parents=True)
    marker.write_text(content)
    change(job, docker_image="")
    container_left.pre_exec(job)
    assert not marker.exists()


def test_the_marker_exists_as_long_as_the_container_may_exist(job: Job) -> None:
    marker = container_left.marker_of(job)
    wrapped = container._begin(job, Command(("sync",), {}, job.directory))
    assert container_end.read_marker(marker) == (NOWHERE, container.name_of(job))
    assert wrapped.argv[0] == NOWHERE

    container._finish(job)

    assert os.path.exists(marker)  # noqa: PTH110
    assert "the next tick tries again" in job.complaints[0]


def test_a_marker_that_cannot_be_written_ends_the_run(job: Job) -> None:
    Path(job.machine.state_dir).write_text("no folder")
    with pytest.raises(Abort, match=r"cannot write the file .*: Not a directory"):
        container._begin(job, Command(("sync",), {}, job.directory))


@pytest.mark.parametrize("link", ["mirrors/debian/link", "keys/link"])
def test_a_link_created_after_the_policy_check_is_refused(job: Job, tmp_path: Path, link: str) -> None:
    (tmp_path / link).symlink_to("/etc")
    change(job, docker_volumes=(f"{tmp_path / link}:/x",))
    with pytest.raises(Abort, match="is really /etc") as aborted:
        container.pre_exec(job)
    assert aborted.value.status == "refused"


def test_the_links_of_volumes_are_checked_before_each_container(job: Job, tmp_path: Path) -> None:
    """The container before, or a sync of another mirror, may have put a link there."""
    place = Path(job.directory, "data")
    place.mkdir()
    change(job, docker_volumes=(f"{place}:/x",))
    container.check(job)
    assert f"{place}:/x" in values(told(job), "--volume")
    for target, reason in (("/etc", "is really /etc"), (str(tmp_path / "keys/a:b"), "has a colon")):
        place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
        place.symlink_to(target)
        for preview in (False, True):
            with pytest.raises(Abort, match=reason) as aborted:
                told(job, preview=preview)
            assert aborted.value.status == "refused"


def test_a_missing_volume_is_reported_before_docker_creates_it(job: Job) -> None:
    change(job, docker_volumes=("{directory}:/data", f"{job.directory}/missing:/x"))
    with pytest.raises(Abort, match="missing, which `docker_volumes` names, does not exist"):
        container.check(job)


def test_a_path_with_a_colon_is_refused(job: Job) -> None:
    job.log_dir = "/var/log/a:b"
    with pytest.raises(Abort, match="has a colon"):
        container.check(job)


DOCKER, PODMAN = "docker: Error response from daemon: ", "Error: "


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        (
            125,
            f"{DOCKER}No such image: x:1.\nSee 'docker run --help'.\n",
            "No such image: x:1; load the image with `skipjack container load FILE`",
        ),
        (125, f"{PODMAN}x:1: image not known\n", "image not known; load the image with `skipjack container load FILE`"),
        (
            125,
            "docker: Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?.\n",
            "systemctl",
        ),
        (125, f"{DOCKER}Conflict. The container name is already in use by x.\n", "whose container has that name"),
        (125, "", "did not start the container (125): see the log"),
        (126, f'{DOCKER}OCI runtime create failed: exec: "/etc": permission denied\n', "set its run bit"),
        (127, f'{PODMAN}runc: exec: "x": executable file not found in $PATH: OCI runtime\n', "add it to the image"),
        (127, "sh: x: not found\n", ""),
        (126, "Error: of its own\n", ""),
        (137, "", "or for lack of memory"),
        (1, f"{DOCKER}x\n", ""),
        (0, "", ""),
    ],
)
def test_exit_codes_of_the_container_program_are_explained(
    job: Job, tmp_path: Path, code: int, log: str, expected: str
) -> None:
    (tmp_path / "log").write_text("hello\n" * 2000 + log)
    job.log_file, job.exit_code = str(tmp_path / "log"), code
    container.post_exec(job)
    assert (expected in job.explanation) if expected else (job.explanation == "")


def test_the_reason_of_a_kill_names_the_limit(job: Job) -> None:
    change(job, memory_limit=64 * 1024**2)
    job.exit_code = 137
    container.post_exec(job)
    assert "over its `memory_limit` of 64.0 MiB?" in job.explanation


def test_a_limit_that_is_not_enforced_is_reported_and_not_named_as_the_reason_of_a_kill(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rootless podman ignores limits with control groups of version 1."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(control_group, "is_unified", lambda: False)
    change(job, memory_limit=64 * 1024**2)
    job.machine = job.machine._replace(container_program="/nowhere/podman")
    job.log_file, job.exit_code = str(tmp_path / "log"), 137
    with pytest.raises(Abort, match="cannot use /nowhere/podman: "):
        container.pre_exec(job)
    container.post_exec(job)
    assert [each for each in job.complaints if each.startswith("`memory_limit` is not enforced: podman")] != []
    assert "memory_limit" not in job.explanation


@pytest.mark.parametrize(
    "said",
    [
        "Error: creating events dirs: mkdir /run/user/995: permission denied",
        "Error: creating runtime temporary files directory: mkdir /run/user/0/libpod: permission denied",
        "RunRoot is pointing to a path (/run/user/995/containers) which is not writable.",
    ],
)
def test_a_podman_database_of_a_login_session_is_named_without_further_tries(said: str) -> None:
    reason = container_end.remove("podman", "skipjack-m", lambda _argv, _timeout: (125, f"WARN x\n{said}\n"))
    assert "/.local/share/containers/storage/libpod/bolt_state.db (images stay)" in reason


def test_units_that_may_not_start_containers_get_a_remedy_without_further_tries() -> None:
    said = "Error: cannot re-exec process\n"
    reason = container_end.remove("podman", "skipjack-m", lambda _argv, _timeout: (125, said))
    assert reason.endswith("; let the units start containers: run `skipjack install --containers`")


def test_no_crashed_run_is_ended_while_its_container_may_exist(tmp_path: Path) -> None:
    layout = StateLayout(str(tmp_path))
    marker = f"{layout.containers}/m"
    with journal.opened(layout.journal) as book:
        assert book.begin(None, Subject("m", "x", True, "0" * 40), 1000.0)
        container_end.write_marker(marker, NOWHERE, "skipjack-m")
        assert crash_recovery.mirrors_with_orphans(layout, book) == ["m"]
        crash_recovery.end_orphans(layout, ["m"])
        crash_recovery.recover_runs(layout, book, 1001.0)
        assert book.states()["m"].status not in ("interrupted", "none")

        Path(marker).write_text("")
        crash_recovery.end_orphans(layout, crash_recovery.mirrors_with_orphans(layout, book))
        crash_recovery.recover_runs(layout, book, 1002.0)
        assert book.states()["m"].status == "interrupted"
        assert layout.containers_left() == [] == crash_recovery.mirrors_with_orphans(layout, book)


def test_a_podman_whose_processes_were_killed_is_migrated_and_tried_again() -> None:
    """The messages of a rootless podman 4.3 after all its processes were killed; it advises the migration itself."""
    broken = (
        'level=error msg="invalid internal status, try resetting the pause process with \\"podman system migrate\\": '
    )
    answers = [(125, f'{broken}could not find any running process: no such process"\n'), (0, "stopped 6fab\n"), (0, "")]
    asked: list[tuple[str, ...]] = []

    def ask(argv: Sequence[str], _timeout: float) -> tuple[int, str]:
        asked.append(tuple(argv))
        return answers[len(asked) - 1]

    assert container_end.remove("podman", "skipjack-m", ask) == ""
    assert [words[1:3] for words in asked] == [("rm", "--force"), ("system", "migrate"), ("rm", "--force")]


def test_a_removal_that_fails_for_an_unknown_reason_is_tried_again() -> None:
    """Docker's message if its client, which is just ending, has requested the removal as well."""
    answers = [(1, "Error response from daemon: removal of container x is already in progress\n"), (0, "")]
    assert container_end.remove("docker", "skipjack-m", lambda _argv, _timeout: answers.pop(0)) == ""
    assert answers == []
