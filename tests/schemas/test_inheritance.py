import pytest

from schemas.config.inheritance import Layer, merge
from schemas.config.judgeable_keys import MERGE_KEY, is_known
from schemas.config.yaml_file import parse

from .kit import lines, load, one

LAYERS = {
    "_defaults": "provider: rsync\nworker: w1\nupstream: rsync://h/m/\nretry: 3\n",
    "_workers": "workers:\n  w1:\n    defaults: {retry: 4}\n  w2: {}\n",
    "os___defaults": "retry: 5\n",
    "os/linux/_defaults": "retry: 6\n",
    "os/linux/debian": "retry: 7\n",
}
"""Every layer that can set a key, weakest first."""


@pytest.mark.parametrize(("layers", "retry"), [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)])
def test_a_nearer_layer_beats_a_farther_one(layers: int, retry: int) -> None:
    sound = {"_defaults": "provider: rsync\nworker: w1\nupstream: rsync://h/m/\n", "os/linux/debian": ""}
    chosen = sound | dict(list(LAYERS.items())[:layers])
    found = load(**{name.replace("/", "__", 1): text for name, text in chosen.items()})
    assert [mirror.retry for mirror in found.mirrors] == [retry], lines(found.problems)


def test_a_folders_defaults_apply_only_below_it() -> None:
    found = load(os___defaults="retry: 5", os__debian="", other__gnu="", kde="")
    assert {mirror.name: mirror.retry for mirror in found.mirrors} == {"debian": 5, "gnu": 2, "kde": 2}


def test_an_explicit_false_beats_an_inherited_true() -> None:
    assert one("", _defaults=LAYERS["_defaults"] + "use_ipv4: true").use_ipv4 is True
    assert one("use_ipv4: false", _defaults=LAYERS["_defaults"] + "use_ipv4: true").use_ipv4 is False


def test_lists_replace_the_inherited_ones() -> None:
    defaults = LAYERS["_defaults"] + "rsync_options: [--acls, --xattrs]"
    assert one("rsync_options: [--checksum]", _defaults=defaults).rsync_options == ("--checksum",)
    assert one("rsync_options: []", _defaults=defaults).rsync_options == ()


def test_env_is_merged_key_by_key() -> None:
    mirror = one("env: {B: mirror, C: mirror}", _defaults=LAYERS["_defaults"] + "env: {A: top, B: top}")
    assert dict(mirror.env) == {"A": "top", "B": "mirror", "C": "mirror"}


def test_other_mappings_replace_the_inherited_ones() -> None:
    password = one("password: {file: /b}", _defaults=LAYERS["_defaults"] + "password: {credential: a}").password
    assert password is not None
    assert (password.file, password.credential) == ("/b", None)


def test_each_worker_of_a_mirror_has_its_own_defaults() -> None:
    found = load(
        _workers="workers: {w1: {defaults: {retry: 5}}, w2: {defaults: {retry: 9}}}", debian="worker: [w1, w2]"
    )
    assert [(mirror.worker, mirror.retry) for mirror in found.mirrors] == [("w1", 5), ("w2", 9)]


def test_merging_changes_no_layer() -> None:
    layers = [Layer(parse(text.encode(), "f.yml")) for text in ("env: {A: x}", "env: {B: x}")]
    assert merge(layers).keys == {"env": {"A": "x", "B": "x"}}
    assert [layer.keys for layer in layers] == [{"env": {"A": "x"}}, {"env": {"B": "x"}}]


def test_a_problem_is_placed_in_the_layer_that_set_the_key() -> None:
    documents = [parse(text.encode(), file) for text, file in [("a: 1\nretry: 1", "top.yml"), ("a: 2", "mirror.yml")]]
    merged = merge([Layer(document) for document in documents])
    places = [merged.problem(key, "", "").place for key in ("a", "retry", "nowhere")]
    assert places == ["mirror.yml:1:4", "top.yml:2:8", "mirror.yml:1:1"]


def test_a_problem_without_a_layer_is_at_the_top_of_the_mirrors_own_file() -> None:
    documents = [parse(b"a: 1", file) for file in ("top.yml", "folder.yml", "mirror.yml")]
    assert merge([Layer(document) for document in documents]).problem("b", "", "").place == "mirror.yml:1:1"


def test_a_problem_of_an_entry_is_placed_at_the_name_of_the_entry() -> None:
    document = parse(b"defaults:\n  env:\n    A: long\n    BB: x\n    '': y\n", "f.yml")
    merged = merge([Layer(document, ("defaults",))])
    assert merged.problem("env", "", "", "BB").place == "f.yml:4:5"
    assert merged.problem("env", "", "", "").place == "f.yml:5:5"
    assert merged.problem("env", "", "").place == "f.yml:3:5"


def test_a_layer_has_keys_at_paths_below_its_own() -> None:
    found = Layer(parse(b"defaults: {env: {A: {B: x}}}", "f.yml"), ("defaults",))
    assert found.has("env") and found.has("env", "A") and found.has("env", "A", "B")
    assert not any(found.has(*path) for path in (("A",), ("env", "env"), ("env", "B"), ("A", "B")))


def layer(text: str, *wrong: str, base: tuple[str, ...] = ()) -> Layer:
    document = parse(text.encode(), "f.yml")
    return Layer(document._replace(wrong=frozenset((key,) for key in wrong)), base)


def test_a_files_own_keys_include_those_for_the_worker() -> None:
    document = parse(b"retry: 3\nworker: {w1: {timeout: 1h}}", "f.yml")
    merged = merge([layer("use_ipv4: true"), Layer(document), Layer(document, ("worker", "w1"))])
    assert (merged.own["retry"], merged.own["timeout"], "use_ipv4" in merged.own) == (3, "1h", False)


def test_keys_of_weaker_layers_are_not_the_files_own() -> None:
    merged = merge([layer("retry: 3"), layer("retry: 4"), layer("timeout: 1h")])
    assert merged.own == {"timeout": "1h"}


def test_a_files_own_env_is_known_beside_unknown_inherited_entries() -> None:
    merged = merge([layer("env: {A: a}"), layer("env: {B: b}", MERGE_KEY)])
    assert not is_known(merged.keys, "env")
    assert merged.own["env"] == {"B": "b"}


@pytest.mark.parametrize("schedule", ["interval: 1h", "cron: x"])
def test_an_inherited_schedule_is_kept_below_a_layer_without_one(schedule: str) -> None:
    keys = merge([layer(schedule), layer("retry: 4"), layer("timeout: 5", "timeout")]).keys
    assert [*keys] == [schedule.partition(":")[0], "retry"]


@pytest.mark.parametrize(("weaker", "stronger"), [("interval: 1h", "cron: x"), ("cron: x", "interval: 1h")])
def test_interval_and_cron_replace_each_other(weaker: str, stronger: str) -> None:
    merged = merge([layer(weaker), layer(stronger)])
    assert [*merged.keys] == [stronger.partition(":")[0]]


def test_a_wrong_cron_replaces_an_inherited_interval_and_is_unknown() -> None:
    keys = merge([layer("interval: 1h"), layer("cron: 5", "cron")]).keys
    assert "interval" not in keys
    assert not is_known(keys, "cron")


def test_a_wrong_inherited_interval_does_not_matter_beside_a_cron() -> None:
    keys = merge([layer("interval: 5", "interval"), layer("cron: x")]).keys
    assert is_known(keys, "interval") and "interval" not in keys


def test_a_right_value_replaces_a_wrong_inherited_one() -> None:
    assert merge([layer("retry: x", "retry"), layer("retry: 2")]).keys["retry"] == 2


def test_below_a_layer_with_unknown_keys_every_key_is_unknown() -> None:
    keys = merge([layer("retry: 2"), layer("use_ipv4: true", MERGE_KEY), layer("timeout: 1h")]).keys
    assert not is_known(keys, "retry")
    assert (keys["use_ipv4"], keys["timeout"]) == (True, "1h")


@pytest.mark.parametrize("wrong", ["env", MERGE_KEY])
def test_an_env_over_an_unknown_one_is_unknown(wrong: str) -> None:
    weaker = layer("env: {A: 1}" if wrong == "env" else "retry: 2", wrong)
    assert not is_known(merge([weaker, layer("env: {B: x}")]).keys, "env")


def test_an_env_over_a_known_one_is_merged() -> None:
    keys = merge([layer("env: {A: a, B: a}"), layer("env: {B: b}")]).keys
    assert keys["env"] == {"A": "a", "B": "b"}
