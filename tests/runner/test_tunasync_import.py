"""tunasync's configuration becomes a repository, and nothing is lost silently."""

import stat
import time
from typing import Any

import pytest

from runner.base.mirror_paths import Paths
from runner.cli import main
from runner.plugin_api import Job
from runner.providers import PROVIDERS

from .importing import DEBIAN, GLOBAL, SECRET, Bench, ImportResult, table

# Nested mirrors, included files, names.

NESTED = """\
[[mirrors]]
name = "parent"
provider = "two-stage-rsync"
stage1_profile = "debian"
mirror_subdir = "linux"
use_ipv6 = true
interval = 60
env = {A = "1", B = "2"}
rsync_options = ["-z"]
  [[mirrors.mirrors]]
  name = "first"
  upstream = "rsync://up.example.org/first/"
  [[mirrors.mirrors]]
  name = "second"
  upstream = "rsync://up.example.org/second/"
  use_ipv6 = false
  rsync_options = ["-O"]
  env = {B = "3"}
    [[mirrors.mirrors.mirrors]]
    name = "third"
    interval = 120
[[mirrors]]
name = "last"
upstream = "rsync://up.example.org/last/"
"""


def test_children_inherit_all_options_and_parents_are_not_mirrors(bench: Bench) -> None:
    result = bench.run(GLOBAL + NESTED)

    assert set(result.mirrors) == {"first", "third", "last"}
    first, third = result.mirrors["first"], result.mirrors["third"]
    assert (first.provider, first.mirror_subdir, first.interval) == ("two-stage-rsync", "linux", 3600)
    assert (first.rsync_options_extra, dict(first.env)) == (("-z",), {"A": "1", "B": "2"})
    assert (third.upstream, third.interval) == ("rsync://up.example.org/second/", 7200)
    assert (third.rsync_options_extra, dict(third.env)) == (("-O",), {"A": "1", "B": "3"})
    assert third.use_ipv6, "an empty value beats nothing in tunasync"
    assert [line[:17] for line in result.findings] == ["worker.conf:22: `"]
    assert "use_ipv6 = false" in result.findings[0]


def test_an_empty_value_does_not_override_a_global_one_nor_rsync_an_inherited_provider(bench: Bench) -> None:
    child = '[[mirrors.mirrors]]\nname = "x"\nprovider = "rsync"\ntimeout = 0\nretry = 0\n'
    parent = (
        '[[mirrors]]\nprovider = "two-stage-rsync"\nstage1_profile = "debian"\nupstream = "rsync://u.example.org/x/"\n'
    )

    result = bench.run(GLOBAL + "timeout = 60\n" + parent + child)

    assert (result.mirrors["x"].provider, result.mirrors["x"].timeout) == ("two-stage-rsync", 60)
    assert [line.split("`")[1] for line in result.findings] == ['provider = "rsync"', "timeout = 0"]


def test_a_parent_with_an_empty_list_of_children_is_not_a_mirror(bench: Bench) -> None:
    assert bench.run(GLOBAL + DEBIAN + "mirrors = []\n").mirrors == {}


@pytest.mark.parametrize("relative_to", [".", "conf"])
def test_included_files_are_found_from_here_or_from_the_file_that_names_them(bench: Bench, relative_to: str) -> None:
    (bench.folder / "conf").mkdir()
    (bench.folder / relative_to / "mirrors.d").mkdir(parents=True)
    for name in ("b", "a", ".hidden"):
        text = DEBIAN.replace("debian", name.strip("."))
        (bench.folder / relative_to / "mirrors.d" / f"{name}.conf").write_text(text + "surprise = 1\n")
    (bench.folder / "conf/w.conf").write_text(GLOBAL + '[include]\ninclude_mirrors = "mirrors.d/*.conf"\n' + DEBIAN)

    code = main(["import", "tunasync", "conf/w.conf", "--into", "mirrors"])

    result = ImportResult(code, bench._capsys.readouterr().out, "", bench.folder)
    assert set(result.mirrors) == {"debian", "a", "b", "hidden"}
    prefix = "" if relative_to == "." else "conf/"
    assert [line.split(" ")[0] for line in result.findings] == [
        f"{prefix}mirrors.d/{name}.conf:4:" for name in (".hidden", "a", "b")
    ]
    assert "a.conf, line 1" in (bench.folder / "mirrors/a.yml").read_text()


def test_an_include_that_matches_nothing_is_reported(bench: Bench) -> None:
    result = bench.run(GLOBAL + '[include]\ninclude_mirrors = "/nowhere/*.conf"\n')
    assert result.findings[0].startswith("worker.conf:8: `include_mirrors` matches no file: /nowhere/*.conf.")


def test_a_broken_included_file_stops_everything(bench: Bench) -> None:
    (bench.folder / "x.conf").write_text("a = 1\nb = \n")
    result = bench.run(GLOBAL + '[include]\ninclude_mirrors = "x.conf"\n')
    assert result.code == 1 and "x.conf:2: Invalid TOML" in result.err
    assert not (bench.folder / "mirrors").exists()


@pytest.mark.parametrize("name", ["", "two words", ".hidden", "a/b", "x" * 65, "_site", "x.yaml", "ü"])
def test_invalid_names_are_reported_and_left_out(bench: Bench, name: str) -> None:
    result = bench.run(GLOBAL + DEBIAN + DEBIAN.replace("debian", name, 1))
    assert set(result.mirrors) == {"debian"}
    assert [line.split(" ")[0] for line in result.findings] == [f"worker.conf:{11 if name else 10}:"]
    assert result.code == 1


def test_of_one_name_the_last_is_kept_and_of_two_spellings_the_first(bench: Bench) -> None:
    other = DEBIAN.replace("up.", "other.")
    result = bench.run(GLOBAL + DEBIAN + other + DEBIAN.replace('"debian', '"Debian'))
    assert result.mirrors["debian"].upstream == "rsync://other.example.org/debian/"
    assert set(result.mirrors) == {"debian"}
    assert [line.split(" ")[0] for line in result.findings] == ["worker.conf:8:", "worker.conf:14:"]


# Secrets.


def test_a_password_moves_into_a_file_of_its_owner_alone(bench: Bench) -> None:
    env = DEBIAN.replace("debian", "by-env") + 'env = {RSYNC_PASSWORD = "from env", A = "b"}\n'
    result = bench.with_secrets(GLOBAL + DEBIAN + f'username = "me"\npassword = "{SECRET}"\n' + env)

    kept = bench.folder / "secrets/debian"
    assert result.mirrors["debian"].password == (str(kept), None)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    job = Job(result.mirrors["debian"], Paths("/d", "/", "/log"))
    assert next(iter(PROVIDERS["rsync"].commands(job))).env == {"USER": "me", "RSYNC_PASSWORD": SECRET}
    assert (bench.folder / "secrets/by-env").read_text() == "from env\n"
    assert dict(result.mirrors["by-env"].env) == {"A": "b"}
    for text in (result.text(), result.out, result.err, (bench.folder / "runner.yml").read_text()):
        assert SECRET not in text and "from env" not in text
    assert result.code == 0


def test_a_password_needs_a_place_and_that_is_not_in_the_repository(bench: Bench) -> None:
    config = GLOBAL + DEBIAN + f'password = "{SECRET}"\n'
    assert "--secrets" in bench.run(config).err
    inside = bench.run(config, "--secrets", str(bench.folder / "mirrors/secrets"))
    assert "is inside the repository" in inside.err
    assert sorted(path.name for path in bench.folder.iterdir()) == ["worker.conf"]


LEAKS = {
    "an upstream": 'upstream = "https://me:hush@x.example.org/"\n',
    "an upstream of rsync": 'provider = "rsync"\nupstream = "rsync://me:hush@x.example.org/x/"\n',
    "an upstream of rsync without a scheme": 'provider = "rsync"\nupstream = "me:hush@x.example.org::x/"\n',
    "a command": 'command = "/opt/x https://me:hush@x.example.org/"\n',
    "a command after a success": "exec_on_success = ['curl https://me:hush@x.example.org/']\n",
    "a variable": 'env = {GITHUB_TOKEN = "hush"}\n',
    "a password that nobody looks at": 'password = "hush"\n',
    "a password that no file can hold": 'provider = "rsync"\npassword = " hush\\n"\n',
}


@pytest.mark.parametrize("line", LEAKS.values(), ids=LEAKS)
def test_secrets_elsewhere_are_reported_but_never_shown(bench: Bench, line: str) -> None:
    base = {"provider": '"command"', "upstream": '"rsync://x.example.org/x/"', "command": '"/opt/x"'}
    rest = "".join(f"{key} = {value}\n" for key, value in base.items() if f"{key} =" not in line)
    result = bench.with_secrets(GLOBAL + '[[mirrors]]\nname = "x"\n' + rest + line)
    assert result.code == 1 and result.findings
    assert "hush" not in result.text() + result.out + result.err
    assert not (bench.folder / "secrets").exists()


def test_a_secret_in_what_all_mirrors_inherit_is_left_out(bench: Bench) -> None:
    result = bench.run(GLOBAL + "exec_on_success = ['curl https://me:hush@x.example.org/']\n" + DEBIAN)
    assert result.findings[0].startswith("worker.conf:7: `exec_on_success` is left out")
    assert "hush" not in result.text() + result.out


# Broken, empty, unusual.


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ("a = 1\n[global\n", "worker.conf:2"),
        ('[global]\nname = "x\n', "worker.conf:2"),
        ("a = 1\na = 2\n", "worker.conf:2"),
        ("a = [1,\n\n", "worker.conf:3"),
        (b"a = 1\n\nb = '\xff'\n", "worker.conf:3"),
        ("a = " + "[" * 100_000, "worker.conf:1"),
        ("[global]\ninterval = '60'\n", "worker.conf:2"),
        ("\nglobal = 3\n", "worker.conf:2"),
        ("mirrors = {}\n", "worker.conf:1"),
        (DEBIAN + "use_ipv6 = 1\n", "worker.conf:4"),
        (DEBIAN + "[mirrors.env]\nA = 1\n", "worker.conf:4"),
        (DEBIAN + "rsync_options = '-a'\n", "worker.conf:4"),
    ],
)
def test_values_that_tunasync_rejects_are_rejected_with_their_line(
    bench: Bench, config: str | bytes, place: str
) -> None:
    result = bench.run(config)
    assert result.code == 1
    assert f"{place}: " in result.err
    assert sorted(path.name for path in bench.folder.iterdir()) == ["worker.conf"]


def test_all_wrong_values_are_reported_at_once(bench: Bench) -> None:
    result = bench.run("[global]\ninterval = 1.5\nretry = true\n" + DEBIAN + "timeout = '1'\n")
    assert [line.removeprefix("ERROR skipjack: ").split(" ")[0] for line in result.err.splitlines()] == [
        "worker.conf:2:", "worker.conf:3:", "worker.conf:7:",
    ]  # fmt: skip


def test_a_missing_file_is_reported(bench: Bench) -> None:
    assert main(["import", "tunasync", "nowhere.conf"]) == 1
    assert "nowhere.conf: No such file or directory" in bench._capsys.readouterr().err


def test_an_empty_configuration_gives_a_repository_without_mirrors(bench: Bench) -> None:
    result = bench.run("")
    assert (result.mirrors, list(result.catalogue.workers)) == ({}, ["worker"])
    assert result.settings.worker == "worker"
    assert [line.split("`")[1] for line in result.findings] == ["concurrent", "name"]


def test_without_concurrent_the_default_is_used_and_reported(bench: Bench) -> None:
    result = bench.run(GLOBAL.replace("concurrent = 3\n", "") + DEBIAN)
    assert result.catalogue.workers["alpha"].slots == 4
    assert len(result.findings) == 1 and "`concurrent`" in result.findings[0]


def test_a_byte_order_mark_windows_line_ends_and_upper_case_keys_are_read(bench: Bench) -> None:
    text = (GLOBAL + DEBIAN).replace("interval", "Interval").replace("\n", "\r\n")
    result = bench.run(b"\xef\xbb\xbf" + text.encode() + b"Nonsense = 1\r\n")
    assert result.mirrors["debian"].interval == 6 * 3600
    assert [line.split(" ")[0] for line in result.findings] == ["worker.conf:10:"]


def test_unknown_keys_are_reported_with_their_lines_and_a_suggestion(bench: Bench) -> None:
    text = GLOBAL + "speed = 1\n[servers]\n[manager]\ntokens = 'x'\n" + DEBIAN + "rsync_optoins = ['-x']\n"
    assert bench.run(text).findings == [
        "worker.conf:7: tunasync has no option `speed` here. Check what uses it.",
        "worker.conf:8: tunasync has no option `servers` here. Did you mean `server`?",
        "worker.conf:10: tunasync has no option `tokens` here. Did you mean `token`?",
        "worker.conf:14: tunasync has no option `rsync_optoins` here. Did you mean `rsync_options`?",
    ]


UNUSABLE = {
    "no upstream": ('[[mirrors]]\nname = "x"\n', 7),
    "no slash": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x"\n', 9),
    "no address": ('[[mirrors]]\nname = "x"\nupstream = "/srv/x/"\n', 9),
    "no provider": ('[[mirrors]]\nname = "x"\nprovider = "wget"\nupstream = "rsync://x.example.org/x/"\n', 9),
    "no command": ('[[mirrors]]\nname = "x"\nprovider = "command"\nupstream = "https://x.example.org/x/"\n', 9),
    "a negative interval": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\ninterval = -5\n', 10),
    "an empty option": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nrsync_options = [""]\n', 10),
    "a relative directory": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nmirror_dir = "x"\n', 10),
    "a folder upwards": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nmirror_subdir = ".."\n', 10),
    "a relative file": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nexclude_file = "x"\n', 10),
    "a variable": ('[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nenv = {"a b" = "c"}\n', 10),
    "nothing to override": (
        '[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nrsync_override_only = true\n', 10
    ),
    "another one's directory": (
        '[[mirrors]]\nname = "x"\nupstream = "rsync://x.example.org/x/"\nmirror_subdir = "debian"\n', 7
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), UNUSABLE.values(), ids=UNUSABLE)
def test_only_the_mirror_that_cannot_be_imported_is_left_out(bench: Bench, text: str, line: int) -> None:
    result = bench.run(GLOBAL + text + DEBIAN)
    assert set(result.mirrors) == {"debian"}
    assert len(result.findings) == 1, result.findings
    assert result.findings[0].startswith(f"worker.conf:{line}: The mirror is left out: ")


def test_all_problems_of_left_out_parts_are_reported(bench: Bench) -> None:
    text = (
        '[[mirrors]]\nname = "x"\nupstream = "https://x.example.org/"\nprovider = "command"\ncommand = "/x > log"\n'
        'exec_on_success = ["/y $HOME", "/y && /z"]\nexec_on_failure = ["/z ~/x"]\n'
    )
    result = bench.run(GLOBAL + "exec_on_success = ['/a && b', '/a > log']\n" + text + DEBIAN)

    assert set(result.mirrors) == {"debian"}
    assert [line.split(", but no shell")[0] for line in result.findings if "no shell" in line] == [
        "worker.conf:7: `exec_on_success` is left out: `/a && b` in `exec_on_success` contains `&&`",
        "worker.conf:7: `exec_on_success` is left out: `/a > log` in `exec_on_success` contains `>`",
        "worker.conf:12: The mirror is left out: `command` contains `>`",
        "worker.conf:13: The mirror is left out: `/y $HOME` in `exec_on_success` contains `$HOME`",
        "worker.conf:13: The mirror is left out: `/y && /z` in `exec_on_success` contains `&&`",
        "worker.conf:14: The mirror is left out: `/z ~/x` in `exec_on_failure` contains `~`",
    ]


def test_a_password_of_a_mirror_that_is_left_out_is_not_written(bench: Bench) -> None:
    result = bench.with_secrets(GLOBAL + DEBIAN.replace("debian/", "debian") + f'password = "{SECRET}"\n')
    assert result.mirrors == {}
    assert not (bench.folder / "secrets").exists()


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("retry = 200", {"retry": 99}),
        ("role = 'both'", {"role": "master"}),
        ("success_exit_codes = [0, 300, 23, 23]", {"success_exit_codes": (23,)}),
        ("provider = 'two-stage-rsync'\nstage1_profile = 'x'", {"stage1_profile": "debian"}),
        ("provider = 'two-stage-rsync'\nrsync_override = ['-a']", {"rsync_override": ()}),
        ("fail_on_match = '\\pL'", {"fail_on_match": ""}),
        ("fail_on_match = '^ERROR'", {"fail_on_match": "^ERROR"}),
        ("size_pattern = 'size ([0-9]+)'", {"size_pattern": ""}),
        ("mirror_dir = '/data/debian'", {"mirror_dir": "/data/debian"}),
        ("exec_on_success = ['a', 'b']", {"exec_on_success": ("a", "b")}),
    ],
)
def test_values_that_are_kept_in_part_are_reported(bench: Bench, line: str, kept: dict[str, Any]) -> None:
    result = bench.run(GLOBAL + DEBIAN + line + "\n")
    assert {key: getattr(result.mirrors["debian"], key) for key in kept} == kept
    assert [found.split(" ")[0] for found in result.findings] == [f"worker.conf:{9 + len(line.splitlines())}:"]
    assert result.code == 1


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("log_dir = '/var/log/{{.Role}}/{{.Name}}'", {"log_dir": "/var/log/skipjack"}),
        ("log_dir = 'log/{{.Name}}'", {"log_dir": "/var/log/skipjack"}),
        ("log_dir = '/{{.Name}}/log'", {"log_dir": "/var/log/skipjack"}),
        ("log_dir = '/tmp/{{.Name}}'", {"log_dir": "/var/log/skipjack"}),
        ("log_dir = '/var/log'", {"log_dir": "/var/log/skipjack"}),
        ("mirror_dir = 'relative'", {"mirror_root": "/srv/mirror"}),
        ("name = 'our worker'", {"worker": "our-worker"}),
        ("concurrent = 5000", {}),
        ("retry = 1000", {}),
        ("interval = -1", {}),
        ("rsync_options = ['']", {}),
        ("dangerous_global_success_exit_codes = [1000]", {}),
    ],
)
def test_global_options_that_cannot_be_kept_are_reported(bench: Bench, line: str, settings: dict[str, Any]) -> None:
    key = line.split(" ")[0]
    text = "".join(f"{each}\n" for each in GLOBAL.splitlines() if not each.startswith(key)) + line + "\n"
    result = bench.run(text + DEBIAN)
    assert {key: getattr(result.settings, key) for key in settings} == settings
    assert result.findings[0].startswith(f"worker.conf:{len(text.splitlines())}: ")
    assert "debian" in result.mirrors


@pytest.mark.parametrize(
    "line",
    [
        "api_base = 'localhost:1'",
        "api_base = 'http://a:b@c'",
        "api_base = 'http://c?key=a:b'",
        "api_base_list = ['http://a', 'http://b']",
    ],
)
def test_addresses_of_managers_that_cannot_be_kept_are_reported(bench: Bench, line: str) -> None:
    result = bench.run(GLOBAL + "[manager]\n" + line + "\n")
    assert len(result.findings) == 1 and result.findings[0].startswith("worker.conf:8: ")
    assert "a:b" not in result.out
    assert result.settings.manager is None or result.settings.manager.url == "http://a"


# The written files.


def test_control_characters_leave_out_only_their_mirror(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + DEBIAN.replace('"debian', '"x') + 'exclude_file = "/a\\u0001"\n')
    assert set(result.mirrors) == {"debian"}
    assert result.findings[0].startswith("worker.conf:13: ")


def test_paths_of_the_machine_on_which_it_ran_stay_out_of_the_repository(bench: Bench) -> None:
    assert str(bench.folder) not in bench.run(GLOBAL + DEBIAN).text()


def test_existing_files_are_kept_without_force(bench: Bench) -> None:
    first = bench.run(GLOBAL + DEBIAN)
    other = DEBIAN.replace("up.", "other.")
    refused = bench.run(GLOBAL + other)
    assert refused.code == 1 and "is not empty" in refused.err
    assert first.mirrors["debian"].upstream == "rsync://up.example.org/debian/"
    assert bench.run(GLOBAL + other, "--force").mirrors["debian"].upstream == "rsync://other.example.org/debian/"


def test_existing_settings_and_secrets_are_kept_without_force(bench: Bench) -> None:
    (bench.folder / "runner.yml").write_text("mine\n")
    assert "runner.yml already exists" in bench.run(GLOBAL + DEBIAN).err
    (bench.folder / "runner.yml").unlink()
    (bench.folder / "secrets").mkdir()
    (bench.folder / "secrets/debian").write_text("mine\n")
    refused = bench.with_secrets(GLOBAL + DEBIAN + f'password = "{SECRET}"\n')
    assert "secrets/debian already exists" in refused.err
    assert (bench.folder / "secrets/debian").read_text() == "mine\n"
    assert not (bench.folder / "mirrors").exists()


def test_an_empty_clone_of_a_repository_counts_as_empty(bench: Bench) -> None:
    (bench.folder / "mirrors/.git").mkdir(parents=True)
    assert bench.run(GLOBAL + DEBIAN).code == 0


def test_overwriting_a_repository_that_would_become_invalid_is_rejected(bench: Bench) -> None:
    bench.run(GLOBAL)
    (bench.folder / "mirrors/os").mkdir()
    (bench.folder / "mirrors/os/debian.yml").write_text("upstream: rsync://up.example.org/debian/\n")
    result = bench.run(GLOBAL + DEBIAN, "--force")
    assert result.code == 1 and "declares the mirror `debian` as well" in result.err
    assert not (bench.folder / "mirrors/debian.yml").exists()


def test_many_mirrors_cost_no_more_each_than_few(bench: Bench) -> None:
    few, many = (_cost(bench, count) for count in (25, 200))
    assert many < 3 * 8 * few


def _cost(bench: Bench, count: int) -> float:
    """CPU seconds of importing so many mirrors."""
    names = [f"m{number}" for number in range(count)]
    mirrors = [table({"name": name, "upstream": f"rsync://up.example.org/{name}/"}) for name in names]
    before = time.process_time()
    result = bench.run(GLOBAL + "".join(mirrors), "--force")
    assert len(result.mirrors) == count and result.code == 0
    return time.process_time() - before


def test_output_options_are_left_out_and_reported(bench: Bench) -> None:
    mirror = table({
        "name": "x", "upstream": "rsync://up.example.org/x/", "rsync_options": ["-avz", "--out-format=%n", "-q"],
        "rsync_override": ["-aHvh", "--info=progress2", "--delete"],
    })  # fmt: skip

    result = bench.run(GLOBAL + 'rsync_options = ["-v", "--bwlimit=1M"]\n' + mirror)

    made = result.mirrors["x"]
    assert made.rsync_options == ("--bwlimit=1M",)
    assert made.rsync_options_extra == ("-az",)
    assert made.rsync_override == ("-aHh", "--delete")
    assert [line.partition(": ")[2].partition(" in a list")[0] for line in result.findings] == [
        "`-v`", "`-v`, `-q`, `--out-format`", "`-v`, `--info`",
    ]  # fmt: skip
    assert main(["validate", str(bench.folder / "mirrors")]) == 0


@pytest.mark.parametrize(
    ("options", "shared", "what"),
    [
        ({"rsync_options": ["-avn"]}, "", "`rsync_options` has `-n`, with which rsync transfers nothing."),
        ({"rsync_override": ["-lt"]}, "", "With the options in `rsync_override` rsync skips all directories"),
        ({}, '"--list-only"', "`rsync_options` has `--list-only`, with which rsync transfers nothing."),
        (
            {"provider": "command", "command": "rsync -an rsync://up.example.org/x/ ./"}, "",
            "`command` has `-n`, with which rsync transfers nothing.",
        ),
    ],
)  # fmt: skip
def test_a_mirror_that_rsync_never_syncs_is_left_out_and_reported(
    bench: Bench, options: dict[str, Any], shared: str, what: str
) -> None:
    both = [{"name": "x", "upstream": "rsync://up.example.org/x/"} | options]
    both.append({"name": "y", "upstream": "rsync://up.example.org/y/", "provider": "two-stage-rsync"})

    result = bench.run(GLOBAL + f"rsync_options = [{shared}]\n" + "".join(map(table, both)))

    assert list(result.mirrors) == ["y"]
    assert [line for line in result.findings if f"The mirror is left out: {what}" in line]


def test_keys_without_effect_beside_another_are_left_out_and_reported(bench: Bench) -> None:
    tables: list[dict[str, Any]] = [
        {"rsync_override": ["-a"], "rsync_override_only": True, "rsync_options": ["-z"], "use_ipv4": True},
        {"rsync_no_timeout": True, "rsync_timeout": 600},
        {"use_ipv6": True, "use_ipv4": True},
        {"username": "m"},
        {"upstream": "up.example.org:x/", "username": "m", "password": "p"},
        {"username": "kept", "env": {"RSYNC_PASSWORD": "p"}},
    ]
    text = GLOBAL
    for number, options in enumerate(tables):
        text += table({"name": f"m{number}", "upstream": "rsync://up.example.org/x/", **options})

    result = bench.with_secrets(text)

    assert sorted(line.partition(": ")[2].partition(" has no")[0] for line in result.findings) == [
        "`password`", "`rsync_options`", "`rsync_timeout`", "`use_ipv4`", "`use_ipv4`", "`username`", "`username`",
    ]  # fmt: skip
    assert [name for name, mirror in result.mirrors.items() if mirror.username or mirror.password] == ["m5"]
    assert result.mirrors["m0"].rsync_options_extra == ()
    assert main(["validate", str(bench.folder / "mirrors")]) == 0


def test_command_lines_that_may_need_a_shell_are_kept_and_reported(bench: Bench) -> None:
    mirror: dict[str, Any] = {"name": "x", "provider": "command", "upstream": "https://h/", "command": "/bin/rm *.old"}
    mirror["exec_on_failure_extra"] = ["/bin/echo a|b"]

    result = bench.run(GLOBAL + 'exec_on_success = ["/bin/ls {a,b}"]\n' + table(mirror) + table(mirror | {"name": "y"}))

    assert [line.partition(", which")[0] for line in result.findings] == [
        "worker.conf:7: `exec_on_success` contains `{a,b}`",
        "worker.conf:12: `command` contains `*.old`",
        "worker.conf:13: `exec_on_failure_extra` contains `a|b`",
        "worker.conf:19: `command` contains `*.old`",
        "worker.conf:20: `exec_on_failure_extra` contains `a|b`",
    ]
    assert result.mirrors["x"].command == "/bin/rm *.old"
