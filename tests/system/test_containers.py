"""Mirrors whose programs run in containers, with a real docker and a real podman."""

import contextlib
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base import locks
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker, alive, wait_until
from tests.system import engines
from tests.system.engines import IMAGE, Engine

PREFIX = "skipjack-m-"
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a short path, which everybody may enter: sockets and containers' users need that."""
    folder = Path(tempfile.mkdtemp(prefix="skipjack-containers-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["docker", "podman"])
def store(request: pytest.FixtureRequest, place: Path) -> Iterator[Engine]:
    start = {"docker": engines.docker, "podman": engines.podman}[request.param]
    image = engines.make_image(place / f"{request.param}.tar")
    with start(place / request.param, image) as engine:
        yield engine


@pytest.fixture
def engine(store: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A container program that the worker finds by the environment alone."""
    for key, value in store.env.items():
        monkeypatch.setenv(key, value)
    return store


@pytest.fixture
def repository(tmp_path: Path) -> ConfigRepository:
    repository = ConfigRepository(tmp_path)
    defaults = f"worker: w1\nprovider: command\nupstream: https://files.example/\nretry: 1\ndocker_image: {IMAGE}\n"
    files = {"_site.yml": "title: Test\n", "_workers.yml": "workers: {w1: {slots: 2}}\n", "_defaults.yml": defaults}
    repository.commit(files, "Begin")
    return repository


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository, engine: Engine) -> Worker:
    worker = Worker(tmp_path / "w", "w1", repository.url)
    with worker.settings.open("a") as settings:
        settings.write(f"container_program: {engine.program}\n")
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write(f"images: ['localhost/*', 'no.such.example/*']\nvolumes: [{tmp_path}/shared]\n")
        policy.write("allowed_container_env: [WORD, PATH, DOCKER_HOST, CONTAINERS_CONF]\n")
    return worker


def declare(repository: ConfigRepository, script: str, more: str = "", name: str = "m") -> None:
    """Declare a mirror whose container runs a line of shell."""
    words = f"sh -c {shlex.quote(script)}"
    repository.commit({f"{name}.yml": f"command: {_quoted(words)}\n{more}"}, f"Declare {name}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def log_of(worker: Worker) -> str:
    return (worker.folder / "logs/m/latest").read_text()


def settled(worker: Worker, engine: Engine) -> bool:
    """Whether nothing is left of a container, neither itself nor its marker."""
    return engine.all() == [] and list((worker.state / "containers").iterdir()) == []


def test_files_and_output_are_the_mirrors(repository: ConfigRepository, worker: Worker, engine: Engine) -> None:
    shared = worker.folder.parent / "shared"
    shared.mkdir()
    (shared / "key").write_text("a key\n")
    script = (
        "cat /etc/image /keys/key; id -u; echo to err >&2; echo $WORD > /data/file; echo y > $TUNASYNC_LOG_DIR/own;"
        " ls; touch /keys/x"
    )
    more = (
        f"docker_volumes: ['{shared}:/keys:ro', '{{directory}}:/data']\ndocker_options: [--network=none, --read-only]\n"
        "env: {WORD: 'two words', PATH: '/bin:/nowhere', DOCKER_HOST: 'unix:///nowhere', CONTAINERS_CONF: /nowhere}\n"
        "success_exit_codes: [1]\nmemory_limit: 64MiB\ncpu_limit: '5000%'\n"
    )
    declare(repository, script, more)

    worker.command("once")

    assert worker.run_of("m").status == "success", log_of(worker)
    assert (worker.root / "m/file").read_text() == "two words\n"
    assert (worker.root / "m/file").stat().st_uid == os.geteuid()
    assert (worker.folder / "logs/m/own").read_text() == "y\n"
    # Its output and its errors take two ways, so that one may overtake the other.
    told = sorted(line for line in log_of(worker).splitlines() if "touch" not in line)
    assert told == sorted(["inside", "a key", str(os.geteuid()), "file", "to err"])
    assert not (shared / "x").exists(), "it was to be read-only"
    assert settled(worker, engine)


def test_a_container_cannot_put_a_link_in_the_place_of_its_log(
    repository: ConfigRepository, worker: Worker, engine: Engine
) -> None:
    precious = worker.folder / "precious"
    precious.write_text("secret\n")
    steps = (
        f"rm -f $L; ln -sf {precious} $L; ln -s {precious} $L.x; mv -f $L.x $L; cd /log; ln -sf {precious} ${{L##*/}}"
    )
    declare(repository, f"L=$TUNASYNC_LOG_FILE; {steps}; exit 3", "docker_volumes: ['{log_dir}:/log']\n")

    worker.command("once", check=False)

    run = worker.run_of("m")
    assert run.exit_code == 3
    assert not Path(os.path.realpath(worker.folder / "logs/m/latest")).samefile(precious)
    assert "busy" in log_of(worker) and "secret" not in run.log_tail
    assert precious.read_text() == "secret\n"
    assert settled(worker, engine)


def test_rsync_takes_its_password_along_and_no_command_line_holds_it(
    tmp_path: Path, repository: ConfigRepository, worker: Worker, engine: Engine
) -> None:
    tree, secrets = tmp_path / "tree", tmp_path / "secrets"
    tree.mkdir()
    for number in range(3):
        (tree / f"file{number}").write_bytes(os.urandom(400_000))
    secrets.write_text(f"mirror:{PASSWORD}\n")
    secrets.chmod(0o600)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write("docker_options: [--network=host]\n")
    (tree / "unwanted").touch()
    with RsyncDaemon(tmp_path / "up", {"files": tree}, f"auth users = mirror\nsecrets file = {secrets}") as daemon:
        text = (
            f"provider: rsync\nupstream: {daemon.url('files')}\nusername: mirror\n"
            f"password: {{file: {tmp_path}/password}}\nexclude_file: filters/excluded\n"
            "rsync_options: [--bwlimit=500]\ndocker_options: [--network=host]\n"
        )
        repository.commit({"m.yml": text, "filters/excluded": "unwanted\n"}, "Add m")
        worker.command("follow", "--start")
        seen = watch_command_lines(worker)
        (tree / "file0").unlink()
        previewed = worker.command("run", "m", "--dry-run").stdout
        assert names(worker) == ["file0", "file1", "file2"]
        worker.command("run", "m")

    assert any(PREFIX in line and "rsync" in line for line in seen), "it should have looked while a container ran"
    assert [line for line in seen if PASSWORD in line] == []
    assert (worker.run_of("m").status, names(worker)) == ("success", ["file1", "file2"]), log_of(worker)
    assert "*deleting   file0" in previewed and f"{engine.program} run --rm" in previewed
    assert "RSYNC_PASSWORD=***" in previewed
    assert PASSWORD not in previewed
    assert settled(worker, engine)


@pytest.mark.parametrize("user", ["", "1234:1234"], ids=["own-user", "another-user"])
def test_deletions_of_an_rsync_in_a_container_are_judged_and_carried_out(
    tmp_path: Path, repository: ConfigRepository, worker: Worker, engine: Engine, user: str
) -> None:
    """Skipjack deletes outside the container, so names must lead to the same files inside and outside."""
    tree = tmp_path / "tree"
    for number in range(10):
        (tree / f"folder-{number % 2}").mkdir(parents=True, exist_ok=True)
        (tree / f"folder-{number % 2}/file {number}\n").write_text("x")
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write("docker_options: [--network=host, --user]\n")
    (worker.root / "m").mkdir(parents=True)
    if user:
        os.chown(worker.root / "m", 1234, 1234)
    options = ["--network=host", *([f"--user={user}"] if user else [])]
    with RsyncDaemon(tmp_path / "up", {"files": tree}) as daemon:
        text = f"provider: rsync\nupstream: {daemon.url('files')}\ndocker_options: {options}\n"
        repository.commit({"m.yml": text}, "Add m")
        worker.command("follow")
        worker.command("run", "m")
        owners = {path.lstat().st_uid for path in (worker.root / "m").rglob("*")}
        (tree / "folder-1/file 1\n").unlink()
        shutil.rmtree(tree / "folder-0")
        (tree / "folder-0").write_text("now a file")
        worker.command("run", "m", check=False)
        refused, before = worker.run_of("m"), names(worker)
        worker.command("run", "m", "--max-delete", "6")

    assert owners == {1234 if user else os.geteuid()}
    assert (refused.status, before) == ("refused", ["folder-0", "folder-1"])
    assert refused.reason.startswith("6 of 10 files (6 B) would be deleted;"), log_of(worker)
    assert (worker.run_of("m").status, (worker.root / "m/folder-0").read_text()) == ("success", "now a file")
    assert len(list((worker.root / "m/folder-1").iterdir())) == 4
    assert settled(worker, engine)


def names(worker: Worker) -> list[str]:
    return sorted(path.name for path in (worker.root / "m").iterdir())


def watch_command_lines(worker: Worker) -> set[str]:
    """Every command line of the machine until the first run of the mirror ends."""
    seen: set[str] = set()

    def ended() -> bool:
        seen.update(command_lines())
        return worker.states().get("m") == "success"

    wait_until(ended, "the first run ends")
    return seen


def command_lines() -> set[str]:
    """The command lines of all processes of the machine, those in containers too."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found.add(path.read_text(errors="replace").replace("\0", " "))
    return found


BEATING = "trap 'exit 0' TERM; while true; do echo beat >> beats; sleep 0.1; done"
STUBBORN = "trap '' TERM; while true; do echo beat >> beats; sleep 0.1; done"


def start_beating(repository: ConfigRepository, worker: Worker, engine: Engine, script: str = BEATING) -> int:
    """Begin a run whose container writes for ever; gives the supervisor's number."""
    declare(repository, script)
    worker.command("follow", "--start")
    wait_until(lambda: (worker.root / "m/beats").exists(), "the container is at work")
    wait_until(lambda: [name[: len(PREFIX)] for name in engine.running()] == [PREFIX], "docker has seen that it is")
    [supervisor] = locks.holders(worker.lock("supervisor", "m"))
    return supervisor


def assert_no_more_beats() -> None:
    """Whatever its name or its container, no process beats any more."""
    assert [
        line for line in command_lines() if "echo beat" in line and not line.startswith(("docker ", "podman "))
    ] == []


@pytest.mark.parametrize("script", [BEATING, STUBBORN], ids=["obedient", "stubborn"])
def test_a_stop_takes_the_container_away(
    repository: ConfigRepository, worker: Worker, engine: Engine, script: str
) -> None:
    supervisor = start_beating(repository, worker, engine, script)

    os.kill(supervisor, signal.SIGTERM)

    wait_until(lambda: not alive(supervisor), "the run ends")
    assert worker.run_of("m").status == "interrupted"
    assert settled(worker, engine)
    assert_no_more_beats()


def test_a_time_out_takes_the_container_away(repository: ConfigRepository, worker: Worker, engine: Engine) -> None:
    declare(repository, STUBBORN, "timeout: 2s\n")
    worker.command("follow", "--start")
    wait_until(lambda: worker.states().get("m") == "timed-out", "the run ends")
    wait_until(lambda: not locks.is_held(worker.lock("supervisor", "m")), "its process is gone")
    assert settled(worker, engine)
    assert_no_more_beats()


def clients(worker: Worker) -> list[int]:
    """The container program's own processes that hold the mirror's lock."""
    return locks.holders(worker.lock("mirror", "m"))


def test_a_killed_client_alone_removes_the_container(
    repository: ConfigRepository, worker: Worker, engine: Engine
) -> None:
    supervisor = start_beating(repository, worker, engine)
    [client] = [pid for pid in clients(worker) if Path(f"/proc/{pid}/comm").read_text().strip() == engine.program]
    os.kill(client, signal.SIGKILL)

    wait_until(lambda: not alive(supervisor), "the run ends")
    assert worker.run_of("m").status == "failed"
    assert settled(worker, engine)
    assert_no_more_beats()


def kill_all_but_the_container(worker: Worker, supervisor: int, *, client: bool) -> None:
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not locks.is_held(worker.lock("supervisor", "m")), "the run is gone")
    while client and (pids := clients(worker)):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not set(pids) & set(clients(worker)), "the client is gone")


@pytest.mark.parametrize("client", [False, True], ids=["alone", "with its client"])
def test_after_a_killed_run_the_next_tick_ends_the_container_before_it_closes_the_run(
    repository: ConfigRepository, worker: Worker, engine: Engine, client: bool
) -> None:
    supervisor = start_beating(repository, worker, engine)
    kill_all_but_the_container(worker, supervisor, client=client)
    before = (worker.root / "m/beats").stat().st_size
    wait_until(lambda: (worker.root / "m/beats").stat().st_size > before, "the container outlives its run")
    assert worker.states() == {"m": "syncing"}

    worker.command("tick")

    run = worker.run_of("m")
    assert (run.status, "died (crash, kill or reboot)" in run.reason) == ("interrupted", True)
    assert settled(worker, engine)
    assert_no_more_beats()


def test_no_provider_begins_beside_a_left_container_even_on_the_machine_itself(
    repository: ConfigRepository, worker: Worker, engine: Engine
) -> None:
    supervisor = start_beating(repository, worker, engine)
    kill_all_but_the_container(worker, supervisor, client=True)
    text = """command: "sh -c 'busybox pgrep -f echo.bea[t] > seen; true'"\n"""
    repository.commit({"m.yml": text, "_defaults.yml": without_image(repository)}, "Leave the container")

    with locks.Held(worker.lock("program", "tick"), wait=20) as held:
        assert held, "no tick shall come before the run"
        worker.command("follow")
        assert [name[: len(PREFIX)] for name in engine.running()] == [PREFIX]
        worker.command("run", "m")

    assert (worker.root / "m/seen").read_text() == ""
    assert settled(worker, engine)


def without_image(repository: ConfigRepository) -> str:
    return (repository.tree / "_defaults.yml").read_text().replace(f"docker_image: {IMAGE}\n", "")


def test_more_memory_than_allowed_is_reported(repository: ConfigRepository, worker: Worker, engine: Engine) -> None:
    repository.commit({"m.yml": "command: tail /dev/zero\nmemory_limit: 64MiB\n"}, "Add a hog")
    worker.command("once", check=False)
    run = worker.run_of("m")
    assert (run.status, run.exit_code) == ("failed", 137)
    assert "`memory_limit` of 64.0 MiB" in run.reason
    assert settled(worker, engine)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: nowhere\n", "add it to the image"),
        ("command: /bin/no-run-bit\n", "run bit"),
        ("command: id\ndocker_image: localhost/nowhere:1\ndocker_options: [--pull=never]\n", "correct `docker_image`"),
        ("command: sh -c 'exit 125'\n", "see the log"),
        ("command: sh -c 'nowhere'\n", "the command exited with 127. The log says: "),
    ],
    ids=["no program", "no run bit", "no image", "125 of its own", "127 of its own"],
)
def test_a_failure_is_reported_with_the_next_step(
    repository: ConfigRepository, worker: Worker, engine: Engine, text: str, expected: str
) -> None:
    repository.commit({"m.yml": text}, "Add a broken one")
    worker.command("once", check=False)
    run = worker.run_of("m")
    assert run.status == "failed"
    assert expected in run.reason, run.reason
    assert settled(worker, engine)


def test_a_missing_program_is_reported_with_the_next_step(
    tmp_path: Path, repository: ConfigRepository, worker: Worker
) -> None:
    worker.settings.write_text(
        "".join(line for line in worker.settings.read_text().splitlines(True) if "container_program" not in line)
        + f"container_program: {tmp_path}/docker\n"
    )
    declare(repository, "id")
    worker.command("once", check=False)
    assert "correct `container_program`" in worker.run_of("m").reason


def test_a_marker_whose_container_cannot_be_removed_keeps_the_directory_for_itself(
    repository: ConfigRepository, worker: Worker, engine: Engine
) -> None:
    """As when its program was removed meanwhile, so it is unknown whether the container exists."""
    supervisor = start_beating(repository, worker, engine)
    kill_all_but_the_container(worker, supervisor, client=True)
    [marker] = (worker.state / "containers").iterdir()
    right = marker.read_text()
    marker.write_text("/nowhere/docker\nskipjack-m\n")

    told = worker.command("tick").stderr
    assert worker.states() == {"m": "syncing"}, "it is unknown whether it has ended"
    assert f"does not exist any more, remove {marker}" in told
    refused = worker.command("run", "m", check=False)
    assert refused.returncode == 1
    assert "cannot remove the container " in worker.run_of("m").reason
    assert [name[: len(PREFIX)] for name in engine.running()] == [PREFIX]

    marker.write_text(right)
    # The tick after the run may be at it yet, by the wrong name; then another one does not wait for it.
    wait_until(lambda: worker.command("tick") and settled(worker, engine), "a tick has removed the container")
    assert_no_more_beats()


def test_an_unreachable_daemon_is_reported_with_the_next_step(
    repository: ConfigRepository, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/socket")
    worker.settings.write_text(worker.settings.read_text().replace("program: podman", "program: docker"))
    declare(repository, "id")
    worker.command("once", check=False)
    assert "systemctl start docker" in worker.run_of("m").reason


def test_one_short_run_after_the_other_leaves_nothing(
    repository: ConfigRepository, worker: Worker, engine: Engine
) -> None:
    declare(repository, "true")
    worker.command("once")
    for _ in range(20):
        worker.command("run", "m")
    assert settled(worker, engine)


@pytest.mark.parametrize("user", ["", "1234:1234"], ids=["own-user", "another-user"])
def test_a_container_sees_the_pattern_files_that_were_judged(
    tmp_path: Path, repository: ConfigRepository, worker: Worker, engine: Engine, user: str
) -> None:
    """A user swaps both files for a secret right before the container program starts."""
    tree, secret = tmp_path / "tree", tmp_path / "secret"
    excluded, merged = tmp_path / "filters/excluded", tmp_path / "filters/merged"
    tree.mkdir()
    for name in ("one", "two", "three"):
        (tree / name).write_text(name)
    secret.write_text("three\n")
    excluded.write_text("one\n")
    merged.write_text("- two\n")
    program = tmp_path / "bin" / engine.program
    program.parent.mkdir()
    swap = f"ln -sf {secret} {excluded}; ln -sf {secret} {merged}"
    program.write_text(f'#!/bin/sh\ncase $1 in run) {swap};; esac\nexec {shutil.which(engine.program)} "$@"\n')
    program.chmod(0o755)
    settings = worker.settings.read_text().replace(f"program: {engine.program}\n", f"program: {program}\n")
    worker.settings.write_text(settings)
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write("docker_options: [--network=host, --user]\n")
    (worker.root / "m").mkdir(parents=True)
    if user:
        os.chown(worker.root / "m", 1234, 1234)
    own = f", '--user={user}'" if user else ""
    with RsyncDaemon(tmp_path / "up", {"files": tree}) as daemon:
        text = f"provider: rsync\nupstream: {daemon.url('files')}\ndocker_options: ['--network=host'{own}]\n"
        text += f"exclude_file: {excluded}\nrsync_options: ['--filter=merge {merged}']\n"
        repository.commit({"m.yml": text}, "Add m")
        worker.command("follow")
        worker.command("run", "m", check=False)

    assert worker.run_of("m").status == "success", log_of(worker)
    assert excluded.is_symlink() and merged.is_symlink()
    assert names(worker) == ["three"]
    assert settled(worker, engine)
