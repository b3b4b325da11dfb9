"""`skipjack plan` on real repositories, as people read it in a terminal."""

import os
import subprocess

import pytest

from runner.forecast import values
from schemas.records import Mirror

from .forecasting import BASE, Proposal

NEW = "upstream: rsync://up.example.org/new/\ninterval: 12h\n"


def test_a_new_mirror_is_shown_with_its_keys_in_effect(proposal: Proposal) -> None:
    proposal.commit({"new.yml": NEW})
    assert (
        proposal.keys()
        == """
worker w1
  + new: starts at once
      provider: rsync
      upstream: rsync://up.example.org/new/
      interval: 12h

Valid. 1 added, on 1 worker.
"""
    )


def test_a_removed_mirror_leaves_its_data(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": None})
    assert "  - gnu: no more runs; its data stays in /srv/mirror/gnu\n" in proposal.plan()


def test_a_renamed_mirror_is_not_a_removed_and_a_new_one(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": None, "GNU.yml": f"{BASE['gnu.yml']}formerly: [gnu]\ninterval: 1d\n"})
    assert (
        proposal.keys()
        == """
worker w1
  ~ GNU: was gnu, whose history it continues; move its files from /srv/mirror/gnu to /srv/mirror/GNU
      interval: 6h -> 1d

Valid. 1 renamed, on 1 worker.
"""
    )


def test_a_mirror_that_moves_is_shown_on_both_workers(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}worker: w2\n"})
    plan = proposal.plan()
    assert "worker w1\n  - gnu: moves to w2; its data stays in /srv/mirror/gnu\n" in plan
    assert "worker w2\n  + gnu: moves here from w1, starts at once; all files are fetched again\n" in plan
    assert plan.endswith("Valid. 1 moved, on 2 workers.\n")


def test_a_mirror_that_is_renamed_and_moved_leaves_its_data_under_the_previous_name(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": None, "GNU.yml": f"{BASE['gnu.yml']}formerly: [gnu]\nworker: w2\n"})
    plan = proposal.plan()
    assert "  - gnu: moves to w2; its data stays in /srv/mirror/gnu\n" in plan
    assert "  + GNU: moves here from w1, starts at once" in plan


def test_a_second_copy_is_only_added(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}worker: [w1, w2]\n"})
    plan = proposal.plan()
    assert "worker w2\n  + gnu: starts at once\n" in plan
    assert "worker w1" not in plan


def test_one_line_for_all_is_one_change_of_many_mirrors(proposal: Proposal) -> None:
    more = {f"m{number}.yml": NEW.replace("/new/", f"/m{number}/") for number in range(9)}
    proposal.commit(more)
    proposal.accept()
    own = f"{more['m4.yml']}retry: 5\n"
    proposal.commit({"_defaults.yml": f"{BASE['_defaults.yml']}interval: 1h\nrsync_timeout: 5m\n", "m4.yml": own})
    assert (
        proposal.keys()
        == """
worker w1
  ~ debian
      interval: 6h -> 1h
  ~ gnu
      interval: 6h -> 1h
  ~ m4
      retry: 2 -> 5
  ~ rsync_timeout: 2m -> 5m on 11 mirrors: debian, gnu, m0, m1, m2, m3, m4, m5 and 3 more

Valid. 11 changed, on 1 worker.
"""
    )


def test_a_cron_schedule_takes_the_place_of_the_interval(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}cron: '0 4 * * *'\n"})
    assert "  ~ gnu\n      interval: 6h -> not set\n      cron: 0 4 * * *\n" in proposal.plan()


def test_values_of_mappings_have_paths(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}env: {{LANG: C}}\nfreshness: {{file: project/trace/x}}\n"})
    plan = proposal.plan()
    assert "      freshness.file: project/trace/x\n      freshness.max_lag: 1d\n" in plan
    assert "      env.LANG: C\n" in plan


def test_secrets_are_hidden_also_those_that_no_check_finds() -> None:
    def changes(**env: str) -> dict[str, tuple[str | None, str | None]]:
        old = Mirror("gnu", "w1", "rsync", "rsync://up.example.org/gnu/", env={"APP_TOKEN": "one"})
        found = values.mirror_changes(old, old._replace(env={"APP_TOKEN": "one"} | env))
        return {each.key: (each.before, each.after) for each in found}

    assert changes(LANG="C") == {"env.LANG": (None, "C")}
    assert changes(APP_TOKEN="two") == {"env.APP_TOKEN": ("***", "*** (another value)")}
    assert changes(URL="https://user:pw@h.example.org/?key=1") == {"env.URL": (None, "https://h.example.org/?***")}


def test_workers_and_the_site_are_compared_as_well(proposal: Proposal) -> None:
    proposal.commit({
        "_workers.yml": (
            "workers:\n  w1: {slots: 8, sync_windows: {allowed: ['22:00-06:00']}}\n"
            "  w3: {sync_windows: {allowed: ['01:00-02:00']}}\n"
        ),
        "_site.yml": BASE["_site.yml"].replace("Test Mirrors", "Our Mirrors"),
        "new.yml": f"{NEW}worker: w3\nafter: [gnu]\n",
        "gnu.yml": f"{BASE['gnu.yml']}worker: [w1, w3]\n",
    })  # fmt: skip
    plan = proposal.plan()
    assert "\nsite\n  title: Test Mirrors -> Our Mirrors\n" in plan
    assert "\nworker w1\n  slots: 4 -> 8\n  sync_windows.allowed: 22:00-06:00\n" in plan
    assert "\nworker w2: removed: it syncs nothing from then on, and its data stays\n" in plan
    assert "\nworker w3: new worker\n" in plan
    assert plan.endswith(" on 3 workers. Workers: 1 added, 1 removed.\n")
    assert "  + new: starts in the next sync window, within 01:00-02:00, after gnu\n" in plan


def test_a_removed_worker_keeps_no_invalid_mirror(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{BASE['gnu.yml']}worker: w2\n"})
    proposal.accept()
    proposal.commit({"_workers.yml": "workers:\n  w1: {}\n"})
    code, out, _err = proposal.run("main..topic")
    removed = "worker w2: removed: it syncs nothing from then on, and its data stays"
    assert (code, f"{removed}\n  - gnu: no more runs; its data stays in /srv/mirror/gnu\n" in out) == (1, True)
    assert "  load: 4 -> 0 starts a day, 0.2 -> 0.0 an hour, slots 2 -> 0\n" in out


def test_nothing_to_do_is_said_in_one_sentence(proposal: Proposal) -> None:
    proposal.commit({"README.md": "Hello.\n", "gnu.yml": f"# A comment.\n{BASE['gnu.yml']}"})
    assert proposal.keys() == "\nNothing changes.\n"


BROKEN: dict[str, tuple[dict[str, str | None], str, str]] = {
    "a mirror": ({"gnu.yml": "upstream: bad\n"}, "  ! gnu: invalid: its definition in force is kept\n", "1 invalid"),
    "a new mirror": ({"new.yml": f"{NEW}xx: 1\n"}, "  ! new: invalid: it does not start\n", "1 invalid"),
    "a file without YAML": ({"gnu.yml": "a: [\n"}, "  ! gnu: invalid: its definition in force is kept\n", "1 invalid"),
    "the defaults": ({"_defaults.yml": "provider: x\n"}, "  ! debian: invalid: its definition in ", "2 invalid"),
    "the site": ({"_site.yml": "title: 1\n"}, "! _site.yml:1:8: ", "Invalid: every worker would reject this revision"),
    "no site": ({"_site.yml": None}, "! _site.yml:1:1: The file is missing.", "Invalid: every worker would reject"),
    "the workers": ({"_workers.yml": "w: 1\n"}, "! _workers.yml:", "Invalid: every worker would reject this revision"),
}  # fmt: skip


@pytest.mark.parametrize("role", BROKEN)
def test_a_broken_file_at_the_head_is_shown_with_its_effect(proposal: Proposal, role: str) -> None:
    files, effect, result = BROKEN[role]
    proposal.commit(files)
    code, out, err = proposal.run("main..topic")
    assert (code, err) == (1, "")
    assert effect in out
    assert result in out.splitlines()[-1]


@pytest.mark.parametrize("role", BROKEN)
def test_a_broken_file_at_the_base_is_shown_as_corrected(proposal: Proposal, role: str) -> None:
    files, _effect, _result = BROKEN[role]
    proposal.commit(files)
    proposal.accept()
    proposal.commit({name: BASE.get(name, NEW) for name in files})
    code, out, err = proposal.run("main..topic")
    assert err == ""
    assert "\nproblems that this corrects:\n  + " in out
    if role in ("the site", "no site", "the workers"):
        last = (
            "Not comparable: every worker rejects the base and keeps an earlier revision; the change itself is valid."
        )
        assert (code, out.splitlines()[-1]) == (0, last)
    else:
        assert (code, ": its definition is valid again\n" in out) == (0, True)


def test_a_site_that_is_corrected_in_part_is_still_a_failure(proposal: Proposal) -> None:
    proposal.commit({"_site.yml": "a: [\n"})
    proposal.accept()
    proposal.commit({"_site.yml": BASE["_site.yml"], "gnu.yml": "upstream: bad\n"})
    code, out, _err = proposal.run("main..topic")
    assert (code, out.splitlines()[-1].partition("; ")[2]) == (1, "the change has 1 problem.")


def test_the_work_tree_is_compared_if_only_the_base_is_named(proposal: Proposal) -> None:
    (proposal.repository.tree / "gnu.yml").unlink()
    code, out, _err = proposal.run("main")
    assert (code, "  - gnu: no more runs" in out) == (0, True)


def test_three_dots_leave_out_what_only_the_base_has(proposal: Proposal) -> None:
    proposal.commit({"new.yml": NEW})
    proposal.repository.git("checkout", "-q", "main")
    proposal.commit({"other.yml": NEW.replace("/new/", "/other/")})
    _code, two, _err = proposal.run("main..topic")
    assert "note: topic does not contain main, so newer changes of main look as if they were undone." in two
    assert "  - other: no more runs" in two
    code, three, _err = proposal.run("main...topic")
    assert (code, "note" in three, "other" in three, "+ new" in three) == (0, False, False, True)


def test_a_folder_with_the_definitions_is_found(proposal: Proposal) -> None:
    files = {f"mirrors/{name}": text for name, text in BASE.items()}
    proposal.commit(files | dict.fromkeys(BASE))
    proposal.accept()
    proposal.commit({"mirrors/new.yml": NEW})
    assert "  + new: starts at once\n" in proposal.plan()
    assert "  + new: starts at once\n" in proposal.plan("--path", "mirrors/")
    proposal.commit({"tests/site/_site.yml": "title: Another\n"})
    code, _out, err = proposal.run("main..topic")
    assert (code, err.count("\n")) == (1, 1)
    assert "has _site.yml in 2 folders: `mirrors`, `tests/site`. Name one with `--path FOLDER`." in err


def test_definitions_that_move_to_a_folder_are_the_same_mirrors(proposal: Proposal) -> None:
    proposal.commit({f"mirrors/{name}": text for name, text in BASE.items()} | dict.fromkeys(BASE))
    plan = proposal.plan()
    assert plan.startswith("note: The definitions move from `.` to `mirrors`: set `repository.path` everywhere.\n")
    assert plan.endswith("\nNothing changes.\n")


def test_the_first_definitions_are_all_new(proposal: Proposal) -> None:
    proposal.commit(dict.fromkeys(BASE) | {"README.md": "Soon.\n"})
    proposal.accept()
    proposal.commit(BASE)
    assert proposal.plan().endswith("Valid. 2 added, on 2 workers. Workers: 2 added.\n")


def failure(proposal: Proposal, *words: str) -> str:
    code, out, err = proposal.run(*words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    return err


def test_revisions_that_cannot_be_compared_are_one_clear_line(proposal: Proposal) -> None:
    assert "cannot find the revision `v9` in " in failure(proposal, "v9..topic")
    assert "cannot find the revision `--all` in " in failure(proposal, "--", "--all..topic")
    proposal.repository.git("checkout", "-q", "--orphan", "alone")
    proposal.repository.git("commit", "-q", "-m", "Start again")
    for dots in ("..", "..."):
        assert "have no common history in " in failure(proposal, f"main{dots}alone")
    assert failure(proposal, "HEAD@{999}..topic").count("cannot find the revision `HEAD@{999}` in ") == 1
    missing = str(proposal.repository.tree / "missing")
    assert f"the folder {missing} does not exist." in failure(proposal, "a..b", "--repo", missing)
    assert f"{__file__} is not a folder." in failure(proposal, "a..b", "--repo", __file__)
    assert "has no folder `x`. Correct `--path`." in failure(proposal, "main..topic", "--path", "x")
    proposal.commit(dict.fromkeys(BASE) | {"README.md": "x\n"})
    proposal.commit({"README.md": "y\n"})
    assert "HEAD has no _site.yml. Name the folder" in failure(proposal, "HEAD~1..HEAD")


@pytest.mark.parametrize("words", [["..", "--repo", "."], ["", "--repo", "."], ["a..b", "--path", "../x"]])
def test_wrong_words_are_a_wrong_usage(proposal: Proposal, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        proposal.run(*words)
    assert ended.value.code == 2


def test_a_shallow_clone_names_the_remedy(proposal: Proposal) -> None:
    proposal.commit({"new.yml": NEW})
    proposal.commit({"gnu.yml": None})
    proposal.repository.git("push", "-q", "origin", "main", "topic")
    base = proposal.repository.git("rev-parse", "main")
    shallow = proposal.repository.tree.parent / "shallow"
    clone = ["git", "clone", "-q", "--depth", "1", "--branch", "topic", proposal.repository.url, str(shallow)]
    subprocess.run(clone, check=True)
    proposal.repository.tree = shallow
    assert "This clone is shallow: run `git fetch --unshallow`" in failure(proposal, f"{base}..HEAD")
    subprocess.run(["git", "-C", str(shallow), "fetch", "-q", "--depth", "1", "origin", base], check=True)
    assert "This clone is shallow: run `git fetch --unshallow`" in failure(proposal, f"{base}...HEAD")
    code, out, _err = proposal.run(f"{base}..HEAD")
    assert (code, "  - gnu" in out) == (0, True)
    assert "note: This clone is shallow, so it is not known whether HEAD has all newer changes.\n" in out


def test_a_bare_repository_and_a_linked_work_tree_are_read(proposal: Proposal) -> None:
    proposal.commit({"new.yml": NEW})
    proposal.repository.git("push", "-q", "origin", "main", "topic")
    linked = proposal.repository.tree.parent / "linked"
    proposal.repository.git("worktree", "add", "-q", str(linked), "main")
    (linked / "sub").mkdir()
    for folder in (linked / "sub", proposal.repository.remote):
        proposal.repository.tree = folder
        assert "  + new: starts at once\n" in proposal.plan()
    code, _out, err = proposal.run("main")
    assert (code, "no work tree" in err) == (1, True)


def test_nothing_of_the_repository_is_executed(proposal: Proposal, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = proposal.repository.tree.parent / "executed"
    program = proposal.repository.tree.parent / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "filter.x.smudge", "core.editor"):
        proposal.repository.git("config", key, str(program))
    proposal.repository.git("config", "alias.rev-parse", f"!{program}")
    hooks = proposal.repository.tree / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        (hooks / name).symlink_to(program)
    proposal.commit({".gitattributes": "* filter=x\n", "new.yml": NEW})
    mark.unlink(missing_ok=True)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    assert "  + new: starts at once\n" in proposal.plan()
    assert not mark.exists()


def test_a_missing_object_of_a_partial_clone_is_not_fetched(proposal: Proposal) -> None:
    proposal.commit({"new.yml": NEW})
    partial = proposal.repository.tree.parent / "partial"
    proposal.repository.git("push", "-q", "origin", "main", "topic")
    subprocess.run(
        ["git", "-C", str(proposal.repository.remote), "config", "uploadpack.allowFilter", "true"], check=True
    )
    clone = ["git", "clone", "-q", "--no-checkout", "--filter=blob:none", proposal.repository.url, str(partial)]
    subprocess.run(clone, check=True, env=os.environ | {"GIT_ALLOW_PROTOCOL": "file"})
    proposal.repository.tree = partial
    assert "cannot read the repository " in failure(proposal, "origin/main..origin/topic")


def test_a_damaged_repository_is_one_clear_line(proposal: Proposal) -> None:
    proposal.commit({"new.yml": NEW})
    name = proposal.repository.git("rev-parse", "topic:new.yml")
    place = proposal.repository.tree / ".git/objects" / name[:2] / name[2:]
    place.chmod(0o644)
    place.write_bytes(b"x")
    assert "cannot read the repository " in failure(proposal, "main..topic")


def test_a_change_of_a_pattern_file_alone_is_one_of_its_mirrors(proposal: Proposal) -> None:
    debian = {"debian.yml": "upstream: rsync://up.example.org/debian/\nexclude_file: filters/d\n"}
    proposal.repository.git("checkout", "-q", "main")
    proposal.commit(debian | {"filters/d": "# a\n*.iso\n*.img\n"})
    proposal.repository.git("checkout", "-q", "-B", "topic")
    assert "debian" not in proposal.plan()
    proposal.commit({"filters/d": "# b\n*.img\n/a b/\n"})
    printed = proposal.plan()
    assert "debian" in printed and "gnu" not in printed
    assert "patterns in filters/d: '*.iso' -> '/a b/'" in printed
    proposal.commit({"filters/d": "*.img\n*.iso\n"})
    assert "patterns in filters/d: another order" in proposal.plan()
