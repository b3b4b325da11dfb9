import json
from types import MappingProxyType

from schemas.records import Mirror, Secret
from schemas.serialization import decode_mirror, encode_mirror, frozen

from .kit import load

BARE = Mirror("debian", "w1", "rsync", "rsync://h/m/")


def test_a_mirror_survives_being_stored() -> None:
    text = (
        "interval: 1h\nenv: {A: ü}\nrsync_options: [-x, --acls]\nsuccess_exit_codes: [24]\nuse_ipv6: true\n"
        "password: {file: /p}\ntimeout: 2h\nmirror_dir: /srv/x\ntitle: 鏡\nfreshness: {file: a/b, max_lag: 1h}\n"
    )
    for mirror in (BARE, load(debian=text).mirrors[0]):
        assert decode_mirror(encode_mirror(mirror)) == mirror


def test_every_field_is_stored() -> None:
    assert set(json.loads(encode_mirror(BARE))) == set(Mirror._fields)


def test_stored_mirrors_of_other_versions_are_read() -> None:
    plain = json.loads(encode_mirror(BARE._replace(retry=7)))
    del plain["retry"]
    assert decode_mirror(json.dumps(plain | {"new": {"a": 1}})) == BARE


def test_a_stored_password_is_where_it_is_kept() -> None:
    mirror = BARE._replace(password=Secret(credential="debian"))
    assert decode_mirror(encode_mirror(mirror)).password == Secret(credential="debian")


def test_the_keys_of_plug_ins_are_stored_and_immutable() -> None:
    keys = frozen({"git": {"depth": 1, "refs": ["main", {"a": [1]}]}})
    mirror = decode_mirror(encode_mirror(BARE._replace(plugins=keys)))
    assert mirror == BARE._replace(plugins=keys)
    assert mirror.plugins["git"]["refs"] == ("main", {"a": (1,)})
    assert isinstance(mirror.plugins["git"]["refs"][1], MappingProxyType)
