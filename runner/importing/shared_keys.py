"""Convert the parts that all mirrors of a tunasync worker share: the worker, and the inherited options."""

import re

from runner.importing import containers, folders, rsync_words
from runner.importing.definitions import Config, Keys, Value
from runner.importing.findings import Finding
from runner.importing.values import doubts, exit_codes, has_password, runs_backwards, tries
from schemas.config.catalogue import DEFAULTS, WORKERS
from schemas.units import setting_duration

# The maximum in the schema of workers.
_MOST_SLOTS = 1000
_LISTS = ("rsync_options", "exec_on_success", "exec_on_failure")
_ORIGINS = {
    "zpool": ("zfs", "zpool"),
    "btrfs_snapshot": ("btrfs_snapshot", "enable"),
    "docker_volumes": ("docker", "volumes"),
    "docker_options": ("docker", "options"),
    "success_exit_codes": ("global", "dangerous_global_success_exit_codes"),
    "rsync_success_exit_codes": ("global", "dangerous_global_rsync_success_exit_codes"),
}


def origin(key: str) -> tuple[str, str]:
    """Return the section and option that a key of the defaults comes from."""
    return _ORIGINS.get(key, ("global", key))


def worker(config: Config, findings: list[Finding]) -> str:
    """Return the name of the worker."""
    place = config.at("global", "name")
    name = str(place.value or "")
    # As the schema of workers wants it; tunasync takes any text.
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:64] or "worker"
    if found != name:
        what = (
            f"`name` is not valid for a worker; `{found}` is used."
            if name
            else f"`name` is not set; `{found}` is used."
        )
        findings.append(place.finding(what, f"To use another name, replace `{found}` everywhere."))
    return found


def slots(config: Config, findings: list[Finding]) -> Keys:
    """Return how many mirrors are synced at once; empty for the default."""
    place = config.at("global", "concurrent")
    if place.value in range(1, _MOST_SLOTS + 1):
        return {"slots": place.value}
    what = f"`concurrent` must be from 1 to {_MOST_SLOTS}."
    if not place.value:
        what = "`concurrent` is not set: tunasync would never sync, Skipjack syncs 4 mirrors at once."
    findings.append(place.finding(what, f"Set `slots` in `{WORKERS}`."))
    return {}


def defaults(config: Config, findings: list[Finding]) -> Keys:
    """Return the keys that all mirrors inherit."""
    keys: Keys = {"provider": "rsync"}
    for option, place in config.sections["global"].items():
        if option in ("interval", "timeout"):
            keys[option] = setting_duration(place.value * (60 if option == "interval" else 1))
        elif option == "retry":
            keys[option] = tries(place, findings)
        elif option.startswith("dangerous_global_"):
            keys[option.removeprefix("dangerous_global_")] = exit_codes(place, findings)
        elif option in _LISTS:
            keys |= _list(option, place, findings)
    return keys | _container(config) | _file_system(config, findings)


def _list(option: str, place: Value, findings: list[Finding]) -> Keys:
    if has_password(place.value):
        what = f"`{option}` is left out: it holds a password."
        findings.append(place.finding(what, "Keep it in a file of the machine."))
        return {}
    if option.startswith("exec"):
        findings += runs_backwards(place.value, place)
        findings += doubts(option, place)
    if option == "rsync_options":
        words, found = rsync_words.without_output(place)
        findings += found
        return {option: words}
    return {option: place.value}


def _container(config: Config) -> Keys:
    """Return the keys that all containers share; empty if these cannot be converted, which each mirror reports."""
    if not any(containers.is_used(each, config) for each in config.definitions):
        return {}
    try:
        found: Keys = containers.common(config).keys()
    except containers.Unfit:
        return {}
    return {} if has_password(found) else found


def _file_system(config: Config, findings: list[Finding]) -> Keys:
    keys: Keys = {}
    zfs, zpool = config.at("zfs", "enable"), config.get("zfs", "zpool", "")
    btrfs = config.at("btrfs_snapshot", "enable")
    if zfs.value and zpool:
        keys["zpool"] = zpool
    elif zfs.value:
        what = "`zpool` is not set, so it is not checked that the mirrors are mounted."
        findings.append(zfs.finding(what, f"Set `zpool` in `{DEFAULTS}`."))
    if folders.publishes_snapshots(config):
        keys["btrfs_snapshot"] = True
    elif btrfs.value:
        what = "`btrfs_snapshot` is left out: with `zfs` as well no run of tunasync succeeds."
        findings.append(btrfs.finding(what, "Check which one is meant."))
    return keys
