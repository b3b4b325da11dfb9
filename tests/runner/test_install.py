"""The texts that `skipjack install` writes; what systemd makes of them is proved in tests/system."""

import os
import pwd
import re
import shlex
import subprocess
from pathlib import Path

import filelock
import pytest

from runner.base import mounts
from runner.install import adoption, cron, machine, render, secret_check, setup
from runner.install.setup import Setup
from runner.subprocesses import launch, unit_health
from schemas.errors import SkipjackError
from schemas.records import (
    DatabaseAddress,
    ManagerAddress,
    ManagerSettings,
    Policy,
    Repository,
    RunnerSettings,
    Secret,
    Tls,
)

SETTINGS = RunnerSettings("w1", Repository("https://git.example.org/x.git"))
REPORTING = SETTINGS._replace(manager=ManagerAddress("https://m.example.org", Secret(credential="token")))


def worker(settings: RunnerSettings = SETTINGS, policy: Policy | None = None, *, own: bool = False) -> Setup:
    path = "/etc/skipjack/runner.yml"
    return setup.of_worker(settings, policy or Policy(), path, "mirror", own=own, containers=False)._replace(
        readable=(path,)
    )


def text(installed: Setup, name: str) -> str:
    found = {Path(path).name: text for path, text in render.files(installed).items()}
    return found[name]


def lines(installed: Setup, name: str) -> list[str]:
    return text(installed, name).splitlines()


def test_each_unit_has_no_line_left_to_fill_and_belongs_to_the_user() -> None:
    for installed in (worker(REPORTING), setup.of_manager(ManagerSettings(), "/etc/m.yml", "mirror", own=False)):
        for path, written in render.files(installed).items():
            assert "${" not in written and "\n\n\n" not in written, path
            is_ours = path.endswith(".service") and not path.endswith("-mounted.service")
            assert ("User=mirror" in written.splitlines()) == is_ours, path


def test_only_runs_may_write_to_mirrors() -> None:
    policy = Policy(mirror_roots=("/srv/more",), log_roots=("/srv/logs",))
    installed = worker(SETTINGS, policy)
    run = lines(installed, "skipjack-run@.service")
    assert {"ReadWritePaths=/srv/mirror", "ReadWritePaths=-/srv/snapshot", "ReadWritePaths=-/srv/more"} <= set(run)
    assert "ReadWritePaths=-/srv/logs" in run and "StateDirectory=skipjack" in run
    assert not any("ReadWritePaths" in line for line in lines(installed, "skipjack-tick.service"))


def test_folders_that_systemd_does_not_create_are_made_writable() -> None:
    settings = SETTINGS._replace(state_dir="/srv/state", run_dir="/run/skipjack/w1", log_dir="/var/log/x/y")
    tick = lines(worker(settings), "skipjack-tick.service")
    assert {"ReadWritePaths=/srv/state", "RuntimeDirectory=skipjack/w1", "LogsDirectory=x/y"} <= set(tick)
    assert "PathExists=/srv/state/wishes/tick" in lines(worker(settings), "skipjack-tick.path")


def test_units_do_not_change_the_owner_of_another_users_folder() -> None:
    installed = worker(SETTINGS._replace(log_dir="/var/log/other"))
    assert "LogsDirectory=other" in lines(installed._replace(foreign=()), "skipjack-tick.service")

    for path in ("/var/log/other", installed.state_dir, installed.run_dir):
        tick = lines(installed._replace(foreign=(path,)), "skipjack-tick.service")
        made = [line for line in tick if re.match("(Runtime|State|Logs)Directory=", line)]
        assert (f"ReadWritePaths={path}" in tick, len(made)) == (True, 2)


def test_special_characters_in_paths_are_escaped_for_systemd() -> None:
    settings = SETTINGS._replace(mirror_root='/srv/my "100%" $mirrors', state_dir="/srv/a b%c")
    run = lines(worker(settings), "skipjack-run@.service")
    assert r'ReadWritePaths="/srv/my \"100%%\" $mirrors"' in run
    assert any(line.endswith('run "/srv/a b%%c" %i') for line in run)
    assert "PathExists=/srv/a b%%c/wishes/tick" in lines(worker(settings), "skipjack-tick.path")


def test_a_dollar_sign_in_a_command_is_escaped() -> None:
    run = lines(worker(SETTINGS._replace(state_dir="/srv/$HOME")), "skipjack-run@.service")
    assert any(line.endswith('run "/srv/$$HOME" %i') for line in run)


def test_a_path_with_control_characters_is_rejected() -> None:
    with pytest.raises(SkipjackError, match="cannot be written into a unit"):
        render.files(worker(SETTINGS._replace(mirror_root="/srv/a\nExecStartPre=/bin/evil")))


def test_homes_are_hidden_except_for_needed_folders() -> None:
    assert "ProtectHome=yes" in lines(worker(), "skipjack-run@.service")
    run = lines(worker(SETTINGS._replace(mirror_root="/home/mirror")), "skipjack-run@.service")
    assert {"ProtectHome=tmpfs", "BindPaths=-/home/mirror", "ReadWritePaths=/home/mirror"} <= set(run)


def test_only_the_courier_gets_the_token() -> None:
    installed = worker(REPORTING)
    loaded = "LoadCredential=token:/etc/skipjack/credentials/token"
    assert loaded in lines(installed, "skipjack-courier.service")
    assert loaded not in lines(installed, "skipjack-run@.service")
    in_file = SETTINGS._replace(manager=ManagerAddress("https://m.example.org", Secret(file="/etc/skipjack/token")))
    assert "InaccessiblePaths=-/etc/skipjack/token" in lines(worker(in_file), "skipjack-run@.service")


def test_the_managers_services_get_each_credential_of_its_settings() -> None:
    address = DatabaseAddress("postgresql://skipjack@db.example/skipjack", Secret(credential="database-password"))
    settings = ManagerSettings(database=address, tls=Tls("/etc/tls.crt", "/etc/tls.key"))
    installed = setup.of_manager(settings, "/etc/m.yml", "mirror", own=False)
    for name in ("skipjack-manager.service", "skipjack-publish.service"):
        loaded = [line for line in lines(installed, name) if "Credential" in line]
        assert loaded == ["LoadCredential=database-password:/etc/skipjack/credentials/database-password"], name
    in_file = settings._replace(database=address._replace(password=Secret(file="/etc/word")))
    for name in ("skipjack-manager.service", "skipjack-publish.service"):
        assert "Credential" not in text(setup.of_manager(in_file, "/etc/m.yml", "mirror", own=False), name)


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (None, "cannot read the secret {} (`database.password`): no such file"),
        ("", "{} (`database.password`) is empty"),
    ],
)
def test_a_manager_with_an_unreadable_secret_is_not_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, warning: str
) -> None:
    path = tmp_path / "word"
    if content is not None:
        path.write_text(content)
    settings = ManagerSettings(database=DatabaseAddress("postgresql://h/d", Secret(file=str(path))))
    installed = setup.of_manager(settings, "/etc/m.yml", pwd.getpwuid(os.geteuid()).pw_name, own=False)
    with pytest.raises(SkipjackError, match="cannot read every secret"):
        secret_check.require(installed)
    said = capsys.readouterr().err
    assert said.startswith("WARNING install: ") and warning.format(path) in said
    path.write_text("open sesame\n")
    secret_check.require(installed)


def test_runs_get_the_passwords_of_mirrors_if_there_are_any() -> None:
    loaded = "LoadCredential=mirror:/etc/skipjack/credentials/mirrors"
    for there in (True, False):
        run = lines(worker()._replace(has_passwords=there), "skipjack-run@.service")
        assert (loaded in run) is there


def test_a_worker_without_a_manager_has_no_courier_and_an_old_one_is_removed() -> None:
    assert not any("courier" in path for path in render.files(worker()))
    assert "/etc/systemd/system/skipjack-courier.timer" in render.obsolete(worker())
    assert not any("courier" in path for path in render.obsolete(worker(REPORTING)))


def test_units_of_a_user_need_no_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    installed = worker(own=True)
    for path, written in render.files(installed).items():
        assert path.startswith(f"{tmp_path}/systemd/user/")
        assert not {"User=", "ProtectSystem=", "PrivateTmp=", "StateDirectory="} & set(
            written.replace("=", "=\n").split()
        )
    assert setup.default_settings(setup.WORKER, own=True) == f"{tmp_path}/skipjack/runner.yml"


@pytest.mark.parametrize("program", ["docker", "/usr/bin/podman"])
def test_the_drop_in_for_containers_names_its_risk(program: str) -> None:
    installed = worker()._replace(containers=program)
    drop_in = text(installed, "containers.conf")
    assert "as good as root on this machine" in drop_in
    assert ("SupplementaryGroups=docker" in drop_in) == (program == "docker")
    assert [path for path in render.files(installed) if path.endswith("containers.conf")] == [
        "/etc/systemd/system/skipjack-run@.service.d/containers.conf",
        "/etc/systemd/system/skipjack-settle@.service.d/containers.conf",
        "/etc/systemd/system/skipjack-tick.service.d/containers.conf",
    ]


def cron_files(installed: Setup) -> dict[str, list[str]]:
    """The printed files by their paths, each with its lines that are not comments."""
    found: dict[str, list[str]] = {}
    for line in cron.cron(installed).splitlines():
        if line.startswith("# /"):
            found[line.removeprefix("# ")] = []
        elif not line.startswith("#"):
            found[list(found)[-1]].append(line)
    return found


def test_cron_lines_are_quoted_for_the_shell() -> None:
    files = cron_files(worker(REPORTING._replace(state_dir="/srv/100% mine")))
    search, *written = files["/etc/cron.d/skipjack"]
    follow, tick, courier = (shlex.split(line.replace(r"\%", "%")) for line in written)
    assert search == "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert follow[:6] == ["*/3", "*", "*", "*", "*", "mirror"]
    assert follow[-5:] == ["follow", "--start", "--quiet", "--settings", "/etc/skipjack/runner.yml"]
    assert tick[-3:] == ["tick", "/srv/100% mine", "quiet"] and courier[-5:-2] == ["courier", "--start", "--quiet"]
    assert "%" not in written[1].replace(r"\%", "")


def test_the_boot_line_creates_missing_folders_and_keeps_existing_ones(tmp_path: Path) -> None:
    settings = SETTINGS._replace(
        run_dir=f"{tmp_path}/run/skip%jack", state_dir=f"{tmp_path}/a state", log_dir=f"{tmp_path}/logs"
    )._replace(mirror_root=f"{tmp_path}/mirror")
    (tmp_path / "mirror").mkdir(mode=0o700)
    user = pwd.getpwuid(os.geteuid()).pw_name
    files = cron_files(worker(settings)._replace(user=user))
    _search, line = files["/etc/cron.d/skipjack-boot"]
    assert line.startswith("@reboot root ")
    command = line.removeprefix("@reboot root ").replace(r"\%", "%")
    for _boot in range(2):
        subprocess.run(["/bin/sh", "-c", command], check=True)
    made = [tmp_path / "run/skip%jack", tmp_path / "a state", tmp_path / "logs"]
    assert [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in made] == [(os.geteuid(), 0o755)] * 3
    assert (tmp_path / "mirror").stat().st_mode & 0o777 == 0o700, "what is there is left as it is"


@pytest.mark.parametrize("is_mounted", [True, False])
def test_the_boot_line_creates_folders_of_a_disk_only_while_that_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mounted: bool
) -> None:
    disk = tmp_path / "a disk"
    disk.mkdir()
    (tmp_path / "link").symlink_to(disk)
    monkeypatch.setattr(mounts, "points", lambda: ["/", str(tmp_path), str(disk), f"{disk}er"])
    settings = SETTINGS._replace(
        run_dir="/run/skipjack", state_dir=f"{disk}/state", log_dir=f"{tmp_path}/link/logs", mirror_root=f"{disk}"
    )
    user = pwd.getpwuid(os.geteuid()).pw_name
    [_search, line] = cron_files(worker(settings)._replace(user=user))["/etc/cron.d/skipjack-boot"]
    (tmp_path / "mountpoint").write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-q {disk}" ] && exit {0 if is_mounted else 32}\nexit 1\n'
    )
    (tmp_path / "mountpoint").chmod(0o755)
    command = line.removeprefix("@reboot root ").replace("/run/skipjack", f"{tmp_path}/run")
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-c", command], check=False, env=path)
    assert (tmp_path / "run").is_dir()
    assert [path.name for path in sorted(disk.iterdir())] == (["logs", "state"] if is_mounted else [])


def test_a_machine_that_shows_no_mount_points_has_a_boot_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert {"/", "/proc"} <= set(mounts.points())
    monkeypatch.setattr(mounts, "_SHOWN", str(tmp_path / "mountinfo"))
    assert mounts.points() == [] and "mountpoint" not in cron.cron(worker())
    (tmp_path / "mountinfo").write_bytes(b"36 35 98:0 / /srv/a\\040disk\\134x rw - ext4 /dev/sda1 rw\n")
    assert mounts.points() == ["/srv/a disk\\x"]


def test_paths_that_would_make_cron_ignore_its_file_are_rejected() -> None:
    long = "/srv/" + "a" * 100

    def lines(above: str) -> str:
        folders = SETTINGS._replace(state_dir=f"{above}/state", log_dir=f"{above}/logs", mirror_root=f"{above}/mirrors")
        return cron.cron(worker(folders))

    assert max(map(len, lines(long).splitlines())) < 998
    with pytest.raises(SkipjackError, match=r"a cron line would have \d+ characters, and cron accepts 998"):
        lines(long * 3)
    with pytest.raises(SkipjackError, match="cannot be written into a cron line"):
        cron.cron(worker(SETTINGS._replace(state_dir="/srv/a\nb")))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("useradd", "useradd --system --user-group --no-create-home --home-dir /var/lib/skipjack"),
        ("pw", "pw useradd mirror -d /var/lib/skipjack"),
        ("adduser", "{ addgroup -S mirror; adduser -S -D -H -h /var/lib/skipjack"),
    ],
)
def test_the_boot_line_adds_the_user_with_the_command_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_search: f"/{name}" if name == program else None)
    assert f"id -u mirror >/dev/null 2>&1 || {{ {words}" in cron.cron(worker())


def test_own_crontab_lines_name_no_user() -> None:
    _comment, _search, boot, follow, tick = cron.cron(worker(own=True)).splitlines()
    assert boot == "@reboot mkdir -p /var/lib/skipjack /run/skipjack /var/log/skipjack /srv/mirror"
    assert follow.startswith("*/3 * * * * /") and tick.startswith("* * * * * /")


def test_cron_lines_for_the_manager_are_rejected() -> None:
    manager = setup.of_manager(ManagerSettings(), "/etc/m.yml", "mirror", own=False)
    with pytest.raises(SkipjackError, match="cron does not restart them"):
        cron.cron(manager)


def test_a_service_with_an_unlimited_path_unit_restarts_with_a_pause() -> None:
    """Every path unit and every service that it starts: without both, one fault starts a service without end."""
    installed = worker(REPORTING)
    paths = [Path(path).name for path in render.files(installed) if path.endswith(".path")]
    assert paths
    for name in paths:
        assert "TriggerLimitIntervalSec=0" in lines(installed, name)
        service = lines(installed, name.replace(".path", ".service"))
        assert {"StartLimitIntervalSec=0", "Restart=on-failure"} <= set(service)
        assert any(line.startswith("RestartSec=") for line in service)


@pytest.mark.parametrize("is_removable", [True, False])
def test_the_follow_service_pauses_if_its_start_request_stays(tmp_path: Path, is_removable: bool) -> None:
    settings = SETTINGS._replace(state_dir=str(tmp_path))
    [line] = [line for line in lines(worker(settings), "skipjack-follow.service") if line.startswith("ExecStartPre=-")]
    begin = 'ExecStartPre=-/bin/sh -c "rm -f -- \\"$$0\\" || sleep 60" '
    assert line == f"{begin}{tmp_path}/wishes/follow"
    request, pauses = tmp_path / "wishes/follow", tmp_path / "pauses"
    (request if is_removable else request / "x").parent.mkdir(parents=True)
    (request if is_removable else request / "x").touch()
    (tmp_path / "sleep").write_text(f'#!/bin/sh\necho "$@" >{pauses}\n')
    (tmp_path / "sleep").chmod(0o755)
    words = ["/bin/sh", "-c", 'rm -f -- "$0" || sleep 60', str(request)]
    subprocess.run(words, check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, stderr=subprocess.DEVNULL)
    assert request.exists() is not is_removable
    assert (pauses.read_text() if pauses.exists() else "") == ("" if is_removable else "60\n")


def test_the_follow_service_names_its_service_manager() -> None:
    for own, name in ((False, "systemd"), (True, "systemd --user")):
        named = f'Environment="{launch.SERVICE_MANAGER}={name}"'
        assert named in lines(worker(own=own), "skipjack-follow.service")


def test_a_lasting_service_is_restarted_without_limit() -> None:
    for installed in (worker(REPORTING), setup.of_manager(ManagerSettings(), "/etc/m.yml", "mirror", own=False)):
        for path in render.files(installed):
            if path.endswith(".service"):
                assert "StartLimitIntervalSec=0" in lines(installed, Path(path).name), path
    for name in ("skipjack-manager.service", "skipjack-publish.service"):
        assert "Restart=always" in lines(setup.of_manager(ManagerSettings(), "/etc/m.yml", "mirror", own=False), name)


def started_by_mounts(installed: Setup) -> tuple[set[str], list[str]]:
    """Return the mount units that start an installation again, and the units that they start."""
    name = "skipjack-manager-mounted.service" if installed.kind == setup.MANAGER else "skipjack-mounted.service"
    found = dict(line.split("=", 1) for line in lines(installed, name) if "=" in line and line[0] != "#")
    assert not {"After", "Requires", "RequiresMountsFor"} & set(found), "a cycle"
    return set(found["WantedBy"].split()), found["ExecStart"].rpartition('" sh ')[2].split()


def test_mount_units_start_what_they_have_stopped() -> None:
    """Except services that a timer or path unit starts: all units that require a folder's mount units."""
    manager = setup.of_manager(ManagerSettings(listen="127.0.0.1:8080"), "/etc/m.yml", "mirror", own=False)
    for installed in (worker(REPORTING), manager):
        mount_units, started = started_by_mounts(installed)
        assert {"var.mount", "var-lib.mount"} < mount_units and not any(name.startswith("run") for name in mount_units)
        ends = (
            (".timer", ".path", ".target")
            if installed.kind == setup.WORKER
            else (".timer", ".socket", ".target", ".service")
        )
        written = {Path(path).name for path in render.files(installed) if path.endswith(ends)}
        assert set(started) == {name for name in written if not name.endswith("-mounted.service")}
        for name in started:
            own = f"RequiresMountsFor={installed.state_dir} {installed.run_dir} {installed.log_dir}".rstrip()
            assert name.endswith("-disks.timer") or text(installed, name).count(f"\n{own}") == 1, name
    assert mount_units == {  # the manager's
        "var.mount", "var-lib.mount", r"var-lib-skipjack\x2dmanager.mount", "var-www.mount", "var-www-skipjack.mount",
        "tmp.mount", "var-tmp.mount",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/srv/a b/.c", {"srv", r"srv-a\x20b", r"srv-a\x20b-.c"}),
        ("/.d-e/f_g:h", {r"\x2ed\x2de", r"\x2ed\x2de-f_g:h"}),
        ("/srv/ä%n\\", {"srv", r"srv-\xc3\xa4\x25n\x5c"}),
        ("/srv//x/", {"srv", "srv-x"}),
        (f"/srv/{130 * 'é'}/x", {"srv"}),  # a name longer than 255 bytes is not one of a unit
    ],
)
def test_mount_units_are_named_as_systemd_names_them(path: str, names: set[str]) -> None:
    """The names are those of `systemd-escape --path`, which a container or a small chroot does not have."""
    mount_units, _started = started_by_mounts(worker(SETTINGS._replace(state_dir=path, log_dir=path)))
    assert mount_units == {f"{name}.mount" for name in names}


def test_units_of_a_user_require_no_mounts() -> None:
    assert not any("Mounts" in text or "mount" in path for path, text in render.files(worker(own=True)).items())


def test_the_worker_may_start_every_unit_that_it_revives() -> None:
    rule = text(worker(REPORTING), "50-skipjack.rules")
    (pattern,) = re.findall(r"isStarter = /(.*)/\.test", rule)
    assert all(re.search(pattern, unit) for unit in unit_health.STARTERS)
    (pattern_of_paths,) = re.findall(r'if \(/(.*)/\.test\(unit\) && verb === "try-restart"\)', rule)
    paths = [unit for unit in unit_health.STARTERS if unit.endswith(".path")]
    assert [unit for unit in unit_health.STARTERS if re.search(pattern_of_paths, unit)] == paths
    assert not re.search(pattern, "skipjack-tick.timer.service") and not re.search(pattern, "xskipjack-tick.path")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("skipjack-manager: The lock cannot be taken: Permission denied. Give it over.", "The lock cannot be taken:"),
        ("skipjack-manager.service: Failed to set up mount namespacing: /x: No such file", "Failed to set up mount"),
        (
            "skipjack-manager.socket: Failed to listen on sockets: Address already in use",
            "Failed to listen on sockets:",
        ),
        ("ModuleNotFoundError: No module named 'uvicorn'", "ModuleNotFoundError: No module named 'uvicorn'"),
    ],
)
def test_the_reason_of_a_failed_unit_is_its_last_line_in_the_journal(said: str, reason: str) -> None:
    name = "skipjack-manager.service"
    ends = (f"{name}: Main process exited, code=exited, status=1/FAILURE", f"{name}: Failed with result 'exit-code'.")
    around = (
        f"Failed to start {name}.",
        "Failed to listen on skipjack-manager.socket - Skipjack: the socket of the manager.",
        f"{name}: Scheduled restart job, restart counter is at 1.",
        f"Stopped {name}.",
    )
    journal = "\n".join([f"Starting {name}...", said, *ends, *around, f"{name}: Consumed 1.1s CPU time."])
    assert machine._last_words(journal).startswith(reason)


def test_a_failed_unit_without_a_reason_has_no_output() -> None:
    assert machine._last_words("Starting skipjack-manager.service...\n") == "no output"


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["manager.db", "manager.db-mark"], True),
        (["manager.db", "checkout", "publish.lock", "serve.lock"], True),
        (["postgresql-mark"], True),
        (["manager.db", "notes.txt"], False),
        ([], False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="the folder must be root's")
def test_only_a_managers_state_that_root_owns_is_given_to_the_user_of_the_units(
    tmp_path: Path, names: list[str], wanted: bool
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert adoption.is_for_giving(str(tmp_path)) is wanted
    settings = ManagerSettings(state_dir=str(tmp_path))
    assert setup.of_manager(settings, "/etc/m.yml", "nobody", own=False).foreign == (() if wanted else (str(tmp_path),))


@pytest.mark.skipif(os.geteuid() != 0, reason="root gives")
def test_a_state_directory_changes_its_owner_with_all_contents_and_nothing_else(tmp_path: Path) -> None:
    state, beside = tmp_path / "state", tmp_path / "beside"
    (state / "checkout").mkdir(parents=True)
    for path in (state / "manager.db", state / "checkout" / "HEAD", beside):
        path.touch()
    (state / "checkout" / "link").symlink_to(beside)
    adoption.give(str(state), 1, 1)
    assert {path.lstat().st_uid for path in (state, *state.rglob("*"))} == {1}
    assert beside.stat().st_uid == 0 and not adoption.is_for_giving(str(state))


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder must be root's")
def test_the_state_directory_of_a_running_manager_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "manager.db").touch()
    with filelock.FileLock(tmp_path / "serve.lock"):
        assert not adoption.is_for_giving(str(tmp_path))
    assert adoption.is_for_giving(str(tmp_path))


@pytest.mark.parametrize(("flags", "told"), [(os.ST_NOSUID | os.ST_NODEV, False), (0, True)])
def test_a_mirror_root_without_nosuid_gets_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: int, told: bool
) -> None:
    found = os.statvfs("/")
    mounted = os.statvfs_result([*found[:8], flags, *found[9:]])
    monkeypatch.setattr(os, "statvfs", lambda _path: mounted)
    machine.note_set_id(worker(), "/srv/mirror")
    out = capsys.readouterr().err
    assert ("INFO install: /srv/mirror is not mounted `nosuid`" in out) is told
    assert ("as mirror; docs/systemd.md shows how" in out) is told
