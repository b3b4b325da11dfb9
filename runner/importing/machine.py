"""Convert the parts of a tunasync configuration that become settings of the worker's machine."""

from collections.abc import Sequence

from runner.importing import folders
from runner.importing.definitions import Config, Keys
from runner.importing.findings import Finding
from schemas.addresses import web_trouble


def settings(config: Config, worker: str, findings: list[Finding]) -> Keys:
    """Return the keys of `runner.yml`; add findings for the parts that are not kept."""
    return {
        "worker": worker,
        # tunasync has no repository, and the key is required: the head of the file tells the administrator to replace
        # it.
        "repository": {"url": "https://git.example.org/mirrors.git"},
        **_roots(config, findings),
        **_control_group(config),
        **_manager(config, findings),
        # tunasync's worker may still be running, and its syncs hold no lock that Skipjack could see.
        "start": "held",
    }


def _roots(config: Config, findings: list[Finding]) -> Keys:
    found = {"log_dir": folders.log_root(config), "snapshot_root": folders.snapshot_root(config)}
    root, logs = config.at("global", "mirror_dir"), config.at("global", "log_dir")
    found["mirror_root"] = folders.mirror_root(config)
    if not found["mirror_root"] and (root.value or config.definitions):
        what = "`mirror_dir` is not an absolute path, or is a folder of the system."
        findings.append(root.finding(what, "Set `mirror_root` in the machine's settings."))
    if logs.value and not found["log_dir"]:
        what = "`log_dir` is not an absolute path, is a folder of the system, or uses more than `{{.Name}}`."
        findings.append(logs.finding(what, "Set `log_dir` in the machine's settings."))
    if folders.publishes_snapshots(config) and not found["snapshot_root"]:
        place = config.at("btrfs_snapshot", "snapshot_path")
        todo = "Set `snapshot_root` in the machine's settings."
        findings.append(
            place.finding(
                "`snapshot_path` in `[btrfs_snapshot]` is not an absolute path, or is a folder of the system.", todo
            )
        )
    return {key: path for key, path in found.items() if path}


def _control_group(config: Config) -> Keys:
    group = folders.control_group(config.get("cgroup", "group", ""))
    return {"cgroup": group} if group and config.get("cgroup", "enable", False) else {}


def _manager(config: Config, findings: list[Finding]) -> Keys:
    urls, one = config.at("manager", "api_base_list"), config.at("manager", "api_base")
    place = urls if urls.value else one
    addresses: Sequence[str] = urls.value or ([one.value] if one.value else [])
    if len(addresses) > 1:
        what = "A worker reports to one manager: the first one is kept."
        findings.append(place.finding(what, "Check who uses the others."))
    if not addresses:
        return {}
    if trouble := web_trouble(addresses[0], whole=False):
        findings.append(place.finding(f"The manager's address {trouble}.", "Set `manager` in the machine's settings."))
        return {}
    # tunasync ignores its option `token`, so there is no token to keep.
    return {"manager": {"url": addresses[0], "token": {"file": "/etc/skipjack/token"}, **_authority(config, findings)}}


def _authority(config: Config, findings: list[Finding]) -> Keys:
    place = config.at("manager", "ca_cert")
    if str(place.value or "").startswith("/"):
        return {"ca_cert": place.value}
    if place.value:
        todo = "Set `manager.ca_cert` in the machine's settings."
        findings.append(place.finding("`ca_cert` is not an absolute path.", todo))
    return {}
