import json

import pytest

from schemas.config import rules
from schemas.records import FreshnessFile

from .kit import BASE, lines, load, reported

COMMAND = "provider: command\nworker: w1\nupstream: https://up.example.org/\n"


def test_an_upstream_without_a_slash_at_the_end_is_reported() -> None:
    assert reported("upstream: rsync://h/debian") == [
        "debian.yml:1:11: The upstream `rsync://h/debian` does not end with a slash."
        " Write `rsync://h/debian/`; without it rsync creates an additional folder."
    ]


@pytest.mark.parametrize(
    "upstream",
    ["-e sh", "--rsh=sh/", "-/", "/srv/data/", "a b:c/", "https://h/x/", "ftp://h/x/", "rsync://h/", "rsync://h", "h::",
     "h:", "rsync:///m/", "user@-oProxyCommand=x:/m/", "rsync://-x/m/", "rsync://u@-x/m/", "::m/", "a/b:c/", "m/"],
)  # fmt: skip
def test_addresses_that_rsync_does_not_read_as_remote_are_rejected(upstream: str) -> None:
    assert reported(f"upstream: '{upstream}'") == [
        f"debian.yml:1:11: `{upstream.replace('//u@', '//***@')}` is not a valid rsync address."
        " Write for example `upstream: rsync://rsync.example.org/debian/`."
    ]


@pytest.mark.parametrize(
    "upstream",
    ["rsync://h/m/", "rsync://u@h:873/m/x/", "rsync://[2001:db8::1]/m/", "h::m/", "u@h::m/", "u@h:/srv/m/", "h:m/",
     "[2001:db8::1]::m/"],
)  # fmt: skip
def test_every_form_of_an_rsync_address_is_accepted(upstream: str) -> None:
    assert load(debian=f"upstream: '{upstream}'").problems == ()


def test_a_commands_upstream_may_be_anything() -> None:
    assert load(_defaults=COMMAND, debian="command: /bin/x\nupstream: S3 bucket 'x'").problems == ()


def test_an_unknown_worker_is_reported_at_its_place() -> None:
    assert reported("worker: w3") == ["debian.yml:1:9: The worker `w3` is not in `_workers.yml`. Known: `w1`, `w2`."]
    defaults = "provider: rsync\nupstream: rsync://h/m/\nworker: gamma\n"
    assert reported("", _defaults=defaults) == [
        "_defaults.yml:3:9: The worker `gamma` is not in `_workers.yml`. Known: `w1`, `w2`."
    ]


def test_one_unknown_worker_among_several_quarantines_the_mirror() -> None:
    (problem,) = reported("worker: [w1, w22, w2]")
    assert "The worker `w22` is not in" in problem


def test_an_unknown_category_is_reported_at_its_place() -> None:
    assert reported("category: oss") == [
        "debian.yml:1:11: The category `oss` is not in `_site.yml`. Did you mean `os`?"
    ]  # fmt: skip
    assert reported("", _workers="workers:\n  w1:\n    defaults: {category: x}") == [
        "_workers.yml:3:26: The category `x` is not in `_site.yml`. Known: `os`."
    ]
    assert reported("category: os", _site="title: T")[0].endswith("None is defined yet.")


@pytest.mark.parametrize("key", ["provider", "worker", "upstream"])
def test_required_keys_may_be_inherited(key: str) -> None:
    keys = {"provider": "rsync", "worker": "w1", "upstream": "rsync://h/m/"}
    defaults = "\n".join(f"{each}: {value}" for each, value in keys.items() if each != key) + "\n"
    assert reported("", _defaults=defaults) == [
        f"debian.yml:1:1: `{key}` is missing. Add `{key}:` here or to an inherited `_defaults.yml`."
    ]
    assert load(_defaults=defaults, debian=f"{key}: {keys[key]}").problems == ()


def test_the_provider_command_needs_a_command() -> None:
    assert reported("", _defaults=COMMAND) == [
        "_defaults.yml:1:11: `command` is missing. Add `command: /path/to/script`."
    ]  # fmt: skip


def test_unbalanced_quotes_in_a_command_are_reported() -> None:
    assert reported('command: sync "a b', _defaults=COMMAND) == [
        "debian.yml:1:10: `command` cannot be split into words: No closing quotation. Fix the quotes."
    ]


@pytest.mark.parametrize("command", ["'  '", "-c id", "\"'' x\""])
def test_a_command_must_name_a_program(command: str) -> None:
    assert reported(f"command: {command}", _defaults=COMMAND) == [
        "debian.yml:1:10: `command` does not name a program. Write for example `command: /path/to/script`."
    ]


EXEC_KEYS = ["exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra"]


@pytest.mark.parametrize("key", EXEC_KEYS)
@pytest.mark.parametrize(
    ("line", "told_of_it"),
    [
        ('say "a b', '`say "a b` in `KEY` cannot be split into words: No closing quotation. Fix the quotes.'),
        ("  ", "`  ` in `KEY` does not name a program. Write for example `/path/to/script now`."),
        ("-c id", "`-c id` in `KEY` does not name a program. Write for example `/path/to/script now`."),
    ],
)
def test_every_line_that_is_to_be_run_must_name_a_program(key: str, line: str, told_of_it: str) -> None:
    assert reported(f"{key}: [/bin/true, '{line}']") == [
        f"debian.yml:1:{len(key) + 3}: " + told_of_it.replace("KEY", key)
    ]
    assert load(debian=f"{key}: [/bin/true, sh -c 'exit 1']").problems == ()


def test_an_inherited_wrong_line_is_reported_at_its_place() -> None:
    text = "provider: rsync\nworker: w1\nupstream: rsync://h/m/\nexec_on_success:\n- '\"'\n"
    assert reported("", _defaults=text)[0].startswith('_defaults.yml:5:1: `"` in `exec_on_success` cannot be split')


@pytest.mark.parametrize("key", ["fail_on_match", "size_pattern"])
def test_a_pattern_must_be_a_regular_expression(key: str) -> None:
    (problem,) = reported(f"command: x\n{key}: '(['", _defaults=COMMAND)
    assert problem.startswith(f"debian.yml:2:{len(key) + 3}: `{key}` is not a valid regular expression: ")


def test_a_size_pattern_needs_a_group() -> None:
    assert reported("command: x\nsize_pattern: '[0-9]+'", _defaults=COMMAND) == [
        "debian.yml:2:15: `size_pattern` has no group. Put parentheses around the size."
    ]


def test_keys_of_another_provider_are_reported_in_the_mirrors_own_file() -> None:
    assert reported("command: x\nrsync_options: [-x]", _defaults=COMMAND) == [
        "debian.yml:2:16: `rsync_options` has no effect with the provider `command`."
        " Remove it, or set `provider: rsync`."
    ]


def test_inherited_options_of_another_provider_are_none_of_a_mirrors_business() -> None:
    assert load(_defaults=COMMAND + "rsync_options: [-x]", debian="command: x").problems == ()


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("mirror_dir: /srv/m/a", "mirror_dir: /srv/m"),
        ("mirror_dir: /srv/m/a/b/c", "mirror_dir: /srv/m/a"),
        ("mirror_dir: /srv/m", "mirror_dir: /srv//m/"),
        ("mirror_subdir: outer", ""),
        ("mirror_subdir: outer/deep", ""),
    ],
)
def test_a_directory_in_another_mirrors_quarantines_the_inner_one(inner: str, outer: str) -> None:
    found = load(zinner=inner, outer=outer)
    assert [mirror.name for mirror in found.mirrors] == ["outer"]
    assert lines(found.problems) == [
        "zinner.yml:1:1: The directory of `zinner` lies in that of `outer` (outer.yml)."
        " Set another `mirror_subdir` or `mirror_dir`: the outer mirror's sync would delete these files."
    ]


@pytest.mark.parametrize(("one", "other"), [("mirror_dir: /srv/ab", "mirror_dir: /srv/a"), ("mirror_subdir: x", "")])
def test_directories_side_by_side_are_fine(one: str, other: str) -> None:
    assert load(first=one, second=other).problems == ()


def test_the_same_directory_on_different_workers_is_fine() -> None:
    assert load(a="mirror_dir: /srv/m\nworker: w1", b="mirror_dir: /srv/m/x\nworker: w2").problems == ()


SNAPSHOT = "btrfs_snapshot: true\nsnapshot_path: "


@pytest.mark.parametrize("path", ["/srv/snapshot/x", "/srv/snapshot/x/y"])
def test_a_snapshot_at_or_in_another_mirrors_quarantines_one(path: str) -> None:
    found = load(zinner=SNAPSHOT + path, outer=f"{SNAPSHOT}/srv/snapshot//x/")
    assert [mirror.name for mirror in found.mirrors] == ["outer"]
    assert lines(found.problems) == [
        "zinner.yml:2:16: The snapshot of `zinner` has the path of that of `outer` (outer.yml), or lies in it."
        " Set another one, or leave it out: one snapshot would replace the other."
    ]


def test_snapshots_side_by_side_or_on_different_workers_are_fine() -> None:
    one = f"{SNAPSHOT}/srv/snapshot/a"
    assert load(a=f"{one}\nworker: w1", b=f"{one}\nworker: w2", c=f"{one}b", d="btrfs_snapshot: true").problems == ()


@pytest.mark.parametrize("off", ["", "btrfs_snapshot: false\n"])
def test_a_snapshot_path_without_snapshots_is_reported(off: str) -> None:
    line = 2 if off else 1
    assert reported(f"{off}snapshot_path: /srv/snapshot/x") == [
        f"debian.yml:{line}:16: `snapshot_path` has no effect without `btrfs_snapshot`."
        " Add `btrfs_snapshot: true`, or remove it."
    ]


def test_a_directory_cannot_be_of_zfs_and_btrfs_at_once() -> None:
    text = "provider: rsync\nworker: w1\nupstream: rsync://h/m/\nbtrfs_snapshot: true\n"
    assert reported("zpool: tank/mirror", _defaults=text) == [
        "debian.yml:1:8: `zpool` and `btrfs_snapshot` are both set, but a directory is on one file system only."
        " Remove one of them, or write `btrfs_snapshot: false`."
    ]
    assert load(debian="zpool: tank/mirror\nbtrfs_snapshot: false", _defaults=text).problems == ()


def test_a_tiny_memory_limit_is_reported() -> None:
    assert reported("memory_limit: 512kB") == [
        "debian.yml:1:15: `memory_limit` is 512kB, too little for any program. Write `16MiB` or more."
    ]
    assert load(debian="memory_limit: 16MiB").problems == ()


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "Asia/Shanghai"])
def test_time_zones_of_the_database_are_known(name: str) -> None:
    assert rules.is_time_zone(name)


@pytest.mark.parametrize("name", ["Europe", "Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "a\0b", "CEST?"])
def test_anything_else_is_not_a_time_zone(name: str) -> None:
    assert not rules.is_time_zone(name)


@pytest.mark.parametrize(("key", "value"), [("docker_volumes", "['/etc/keys:/keys']"), ("docker_options", "[--init]")])
def test_keys_of_containers_need_an_image(key: str, value: str) -> None:
    text = f"{key}: {value}\n"
    assert reported(text) == [
        f"debian.yml:1:{len(key) + 3}: `{key}` has no effect without a container. Add `docker_image:`."
    ]
    assert load(debian=text + "docker_image: tools:3\n").problems == ()
    assert load(_defaults=BASE["_defaults.yml"] + text, debian="").problems == (), "others may have one"


@pytest.mark.parametrize("word", ["-v", "-v/:/x", "--", "-", "---x", "--Init", "--network host", '"--a=\\n"'])
def test_an_option_for_a_container_is_one_word(word: str) -> None:
    (problem,) = reported(f"docker_image: tools:3\ndocker_options: [--init, {word}]\n")
    assert problem.startswith("debian.yml:2:17: `")
    assert "is neither `--name` nor `--name=value`. Write each option as one word" in problem


def test_each_wrong_option_for_a_container_is_reported() -> None:
    found = reported("docker_image: tools:3\ndocker_options: [init, --init, '--network host']\n")
    assert [problem.partition(" in ")[0] for problem in found] == [
        "debian.yml:2:17: `--network host`", "debian.yml:2:17: `init`",
    ]  # fmt: skip


def test_a_number_in_a_list_of_texts_hides_no_problem_of_the_list() -> None:
    found = reported("rsync_options: [--timeout, 60, --bogus]\nexec_on_success: [7, /bin/a | b]\n")
    assert [problem.partition(". ")[0] for problem in found] == [
        "debian.yml:1:16: `rsync_options` has the unknown option `--bogus`",
        "debian.yml:1:28: Entry 2 of `rsync_options` must be text, not 60",
        "debian.yml:2:18: `/bin/a | b` in `exec_on_success` contains `|`, but no shell runs the line",
        "debian.yml:2:19: Entry 1 of `exec_on_success` must be text, not 7",
    ]


@pytest.mark.parametrize("entry", ["true", "[a]", "{a: b}", "010"])
def test_another_wrong_entry_hides_no_problem_of_the_list_and_may_be_the_value_of_an_option(entry: str) -> None:
    bogus, wrong = reported(f"rsync_options: [--bogus, {entry}]\n")
    assert "has the unknown option `--bogus`" in bogus
    assert wrong.startswith("debian.yml:1:26: ")
    before, nothing, wrong = reported(f"rsync_options: [--max-size=x, --exclude, {entry}, -n]\n")
    assert "which rsync does not accept as a size" in before
    assert "has `-n`, with which rsync transfers nothing" in nothing
    assert wrong.startswith("debian.yml:1:42: ")


@pytest.mark.parametrize(
    "volume", ["keys:/keys", "/keys", "/keys:keys", "/a:/b:z", "{mirror}:/data", "{directory}/x:/data", "/a:/b:ro:rw"]
)
def test_a_volume_has_a_source_and_a_target(volume: str) -> None:
    (problem,) = reported(f"docker_image: tools:3\ndocker_volumes: ['{volume}']\n")
    assert problem.startswith("debian.yml:2:18: ")
    for fine in ("/keys:/keys", "/keys:/keys:ro", "{directory}:/data", "{log_dir}:/log:rw"):
        assert load(debian=f"docker_image: tools:3\ndocker_volumes: ['{fine}']\n").problems == ()


@pytest.mark.parametrize("upstream", ["https://h.example/x/", "http://h.example", "rsync://h/m/", "h::m/", "u@h:p/"])
def test_freshness_works_with_rsync_and_web_upstreams(upstream: str) -> None:
    text = f"provider: command\ncommand: /x\nupstream: '{upstream}'\nfreshness: {{file: .lastsync}}\n"
    assert (found := load(debian=text)).problems == (), lines(found.problems)
    assert found.mirrors[0].freshness == FreshnessFile(".lastsync", 86400)


@pytest.mark.parametrize(
    "upstream", ["git://h.example/x", "https://u@h.example/", "anything", "https://h/?a=", "https://h:0/"]
)
def test_the_freshness_of_another_upstream_is_a_problem_where_configured(upstream: str) -> None:
    text = f"provider: command\ncommand: /x\nupstream: '{upstream}'\n"
    (problem,) = reported(text + "freshness: {file: stamp}\n")
    assert problem.startswith("debian.yml:4:12: `freshness` needs an rsync or web address")
    assert not load(debian=text, _defaults="provider: rsync\nworker: w1\nfreshness: {file: stamp}\n").problems


@pytest.mark.parametrize("file", ["/etc/passwd", "../x", "a/../b", "a//b", "-x", "a/", "a b", "*", "a\nb"])
def test_the_freshness_file_is_a_path_below_the_upstream(file: str) -> None:
    assert reported(f"freshness: {{file: {json.dumps(file)}}}\n")


@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra", "rsync_override"])
def test_a_list_that_ends_in_an_option_without_its_value_is_an_error(key: str) -> None:
    for words, option in (
        ("[-a, --exclude]", "--exclude"),
        ("[-a, -ve]", "-e"),
        ("[-a, --exclude, -z, --bwlimit]", "--bwlimit"),
    ):
        [problem] = reported(f"{key}: {words}")
        assert f"`{key}` ends with `{option}`, which needs a value." in problem
    assert load(debian=f"{key}: [-a, --exclude, --rsh=x, -B, '5']").problems == ()
