"""Comments of tunasync's configuration are copied above the keys that they describe, or listed."""

from pathlib import Path

import pytest

from runner.importing import toml_source
from runner.importing.toml_source import Comment

from .importing import DEBIAN, GLOBAL, Bench

COMMENTED = """\
# Managed by the site's playbook

# the machine in the cellar
[global] # of all
name = "alpha" # ask Kim
log_dir = "/var/log/tunasync/{{.Name}}"
# the new disk
mirror_dir = "/srv/mirror"
concurrent = 3 # the line is slow
# quiet hours are the upstream's wish
interval = 360
# moved in May
[manager]
api_base = "http://m.example.org:14242" # behind the wall

# Upstream asked us (mail of 2024-03-01) for at most 4 times a day
[[mirrors]]
name = "a" # owner: mirrors@example.edu
# old upstream = "rsync://old.example.org/a/"
upstream = "rsync://new.example.org/a/"
interval = 720
rsync_options = [ # see their page
  "--bwlimit=1000", # of a home line
  # "--copy-links",
]
retry = 2 # the default of Skipjack

# [[mirrors]]
# name = "gone"

[[mirrors]]
name = "b"
upstream = "rsync://up.example.org/b/"
#\t中文\u3000注释
"""


def test_comments_are_above_the_keys_that_they_describe(bench: Bench) -> None:
    result = bench.run(COMMENTED)

    assert (bench.folder / "mirrors/a.yml").read_text("utf-8") == (
        "# From tunasync's worker.conf, line 17.\n"
        "# Upstream asked us (mail of 2024-03-01) for at most 4 times a day\n"
        "# owner: mirrors@example.edu\n"
        "# the default of Skipjack\n"
        '# old upstream = "rsync://old.example.org/a/"\n'
        "upstream: rsync://new.example.org/a/\n"
        "interval: 12h\n"
        "# see their page\n"
        "# of a home line\n"
        '# "--copy-links",\n'
        "rsync_options_extra:\n"
        "  - --bwlimit=1000\n"
    )
    assert (
        (bench.folder / "mirrors/b.yml")
        .read_text("utf-8")
        .endswith("# 中文\u3000注释\nupstream: rsync://up.example.org/b/\n")
    )
    assert (
        "# the machine in the cellar\n# of all\nworker: alpha\n" in (bench.folder / "mirrors/_defaults.yml").read_text()
    )
    assert "# ask Kim\n# the line is slow\nworkers:\n" in (bench.folder / "mirrors/_workers.yml").read_text()
    runner = (bench.folder / "runner.yml").read_text()
    assert "# moved in May\nworker: alpha\n" in runner
    assert "# the new disk\nmirror_root: /srv/mirror\n" in runner
    assert "# behind the wall\nmanager:\n" in runner
    assert set(result.mirrors) == {"a", "b"}
    assert result.settings.worker == "alpha"


def test_comments_that_belong_to_no_key_are_listed_with_their_line(bench: Bench) -> None:
    result = bench.run(COMMENTED)

    todo = "was not copied: no key of the new files belongs to it. Copy it by hand where it is needed."
    assert result.findings == [
        f"worker.conf:1: The comment `# Managed by the site's playbook` {todo}",
        f"worker.conf:10: The comment `# quiet hours are the upstream's wish` {todo}",
        f"worker.conf:28: The comment `# [[mirrors]]` and one more line {todo}",
    ]
    assert result.code == 1


def test_no_comment_is_lost(bench: Bench) -> None:
    result = bench.run(COMMENTED)
    everything = result.text() + (bench.folder / "runner.yml").read_text("utf-8") + result.out
    for line in COMMENTED.splitlines():
        _code, mark, comment = line.partition("#")
        assert not mark or comment.strip() in everything or comment == ' name = "gone"'


def test_a_comment_that_may_hold_a_secret_stays_out_of_the_repository(bench: Bench) -> None:
    config = DEBIAN + '# password = "open sesame"\n# was rsync://u:hunter2@up.example.org/x/\nretry = 3 # fine\n'
    result = bench.run(GLOBAL + config)

    wanted = "may hold a secret, and was not copied into the repository. Copy it by hand if it holds none."
    assert result.findings == [f"worker.conf:10: The comment (up to line 11) {wanted}"]
    written = result.text() + result.out
    assert "# fine\nretry: 3\n" in written
    assert "open sesame" not in written
    assert "hunter2" not in written


def test_a_secret_comment_of_its_own_is_not_printed_either(bench: Bench) -> None:
    result = bench.run(GLOBAL + '\n# password = "open sesame"\n\n' + DEBIAN)

    assert [line.split(": ")[0] for line in result.findings] == ["worker.conf:8"]
    assert "open sesame" not in result.text() + result.out


@pytest.mark.parametrize(
    "comment",
    [
        "pass: x7z", "pw x7z", "user/pass bob/x7z", "Bearer x7z", "login bob x7z", "RSYNC_PASS=x7z", "PASS1 x7z",
        "API key x7z", "Auth: x7z", "creds bob x7z", "passphrase x7z", "密码 x7z", "the password was\n# x7z",
    ],
)  # fmt: skip
def test_words_beside_secrets_keep_a_comment_out(bench: Bench, comment: str) -> None:
    result = bench.run(GLOBAL + DEBIAN + f"# {comment}\nretry = 3 # fine\n")

    assert "x7z" not in result.text() + result.out
    assert "# fine\nretry: 3\n" in result.text()
    assert [line.split(" may hold")[0].split(" (")[0] for line in result.findings] == ["worker.conf:10: The comment"]


@pytest.mark.parametrize("comment", ["bypasses the proxy", "the author", "compass", "keys of Debian", "logins2"])
def test_words_that_only_look_like_those_keep_nothing_out(bench: Bench, comment: str) -> None:
    result = bench.run(GLOBAL + DEBIAN + f"# {comment}\nretry = 3\n")

    assert f"# {comment}\nretry: 3\n" in result.text()
    assert result.findings == []


@pytest.mark.parametrize(
    ("option", "secret"),
    [
        ('password = "hunter1"', "hunter1"),
        ('password = "hun/ter"', "hun%2Fter"),
        ('upstream = "rsync://bob:hunter1@up.example.org/x/"', "hunter1"),
        ('upstream = "rsync://bob:hun%2Fter@up.example.org/x/"', "hun/ter"),
        ('env = { MY_TOKEN = "hunter1" }', "hunter1"),
        ('unknown = { api_key = "hunter1" }', "hunter1"),
        ('exec_on_success = ["/x --token=hunter1"]', "hunter1"),
    ],
)
def test_no_comment_with_a_secret_of_the_configuration_is_copied(bench: Bench, option: str, secret: str) -> None:
    other = f'[[mirrors]]\nname = "x" # bob:{secret}\nupstream = "https://up.example.org/x/"\n'
    other = other.replace('upstream = "https://up.example.org/x/"', option) if option.startswith("upstream") else other
    more = "" if option.startswith("upstream") else option + "\n"
    here = f"# see https://h/{secret}/x\nretry = 3 # kept\n\n# alone: {secret}\n\n"
    result = bench.with_secrets(GLOBAL + DEBIAN + here + other + more)

    assert f"bob:{secret}" not in result.text() + result.out
    assert f"alone: {secret}" not in result.text() + result.out
    assert f"h/{secret}/x" not in result.text() + result.out
    assert "# kept\nretry: 3\n" in result.text()
    withheld = [line for line in result.findings if "The comment may hold a secret" in line]
    assert [line.split(":")[1] for line in withheld][:2] == ["10", "13"]


def test_no_comment_beside_a_secret_is_copied(bench: Bench) -> None:
    mirror = DEBIAN + (
        '# above x7z\npassword = "hunter1" # until 2023: x7z\n# below x7z\nretry = 3 # fine\n'
        'env.A_TOKEN = "hunter2" # before: x7z\n'
    )
    result = bench.with_secrets(GLOBAL.replace("[global]", '[manager]\ntoken = "t" # x7z\n[global]') + mirror)

    assert "x7z" not in result.text() + result.out + (bench.folder / "runner.yml").read_text()
    assert "# fine\nretry: 3\n" in result.text()
    withheld = [line.split(":")[1] for line in result.findings if " may hold a secret" in line]
    assert withheld == ["2", "12", "13", "14", "16"]


@pytest.mark.parametrize(
    "options",
    ['provider = "command"\ncommand = "a && b"', 'rsync_options = ["--unknown-option"]', 'name = "debian"'],
    ids=["by the importer", "by the rules", "by its name"],
)
def test_comments_of_a_mirror_that_is_left_out_are_counted(bench: Bench, options: str) -> None:
    name = "" if "name =" in options else 'name = "x"\n'
    mirror = f'[[mirrors]] # of Kim\n{name}upstream = "rsync://x/m/" # old\n{options} # why\n'
    mirror += '[mirrors.env]\nA = "1" # its key\n'
    result = bench.run(GLOBAL + mirror + DEBIAN)

    counted = "The mirror's comments (4) were not copied, because the mirror is left out. "
    assert f"worker.conf:7: {counted}Copy them by hand when you write its file." in result.findings
    assert [line.split(": ")[1] for line in result.findings if counted not in line] == ["The mirror is left out"]


def test_the_comment_of_a_default_that_is_left_out_is_listed(bench: Bench) -> None:
    result = bench.run(GLOBAL + 'exec_on_success = ["a && b"] # see the wiki\n' + DEBIAN)

    assert [line.split(". ")[0] for line in result.findings] == [
        "worker.conf:7: The comment `# see the wiki` was not copied: no key of the new files belongs to it",
        "worker.conf:7: `exec_on_success` is left out: `a && b` in `exec_on_success` contains `&&`, but no shell runs"
        " the line",
    ]


@pytest.mark.parametrize(
    "env",
    [
        '# above\n[mirrors.env] # head\n# inside\nA = "1" # one\n# B = "2"\nC = "3" # three\n# below\n',
        '# above\nenv.A = "1" # head\n# inside\n# one\n# B = "2"\nenv.C = "3" # three\n# below\n',
        '# above\nenv = { A = "1", C = "3" } # head\n# inside\n# one\n# B = "2"\n# three\n# below\n',
    ],
    ids=["table", "dotted keys", "inline table"],
)
def test_comments_inside_of_a_table_are_above_its_key(bench: Bench, env: str) -> None:
    result = bench.run(GLOBAL + DEBIAN + env)

    assert result.findings == []
    assert (
        (bench.folder / "mirrors/debian.yml")
        .read_text()
        .endswith(
            "upstream: rsync://up.example.org/debian/\n"
            '# above\n# head\n# inside\n# one\n# B = "2"\n# three\n# below\n'
            "env:\n  A: '1'\n  C: '3'\n"
        )
    )


def test_comments_with_other_line_ends_a_mark_and_tabs_are_kept(bench: Bench) -> None:
    config = "\ufeff# first\n" + GLOBAL + "retry = 3\t#\ta\tb\n" + DEBIAN + 'fail_on_match = "a#b" # not c\n# end'
    result = bench.run(config.replace("\n", "\r\n"))

    assert result.findings == []
    assert "# first\nworker: alpha\n" in result.text()
    assert "# a       b\nretry: 3\n" in result.text()
    assert "# not c\n# end\nfail_on_match: 'a#b'\n" in result.text()


def test_a_comment_of_a_nested_mirrors_parent_is_with_each_child(bench: Bench) -> None:
    nested = (
        '[[mirrors]]\nname = "parent"\ninterval = 60 # their rule\n'
        '[[mirrors.mirrors]] # one\nname = "one"\nupstream = "rsync://h/one/"\n'
        '[[mirrors.mirrors]]\nname = "two" # two\nupstream = "rsync://h/two/"\n'
    )
    result = bench.run(GLOBAL + nested)

    assert result.findings == []
    for name in ("one", "two"):
        text = (bench.folder / f"mirrors/{name}.yml").read_text()
        assert f"# {name}\nupstream: rsync://h/{name}/\n# their rule\ninterval: 1h\n" in text


def test_a_comment_is_read_as_toml_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text('a = "# no comment" # one\nb = """\n# text\n"""\nc = [1, # two\n 2]\n# three\n\n#four\n')
    source = toml_source.read(str(path))
    assert source.comments == {1: [Comment(1, "one")], 5: [Comment(5, "two"), Comment(7, "three")]}
    assert source.loose_comments == {9: [Comment(9, "four")]}
