"""`skipjack import yuki`: from the configuration of yuki to a config repository, each of whose files is valid."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from runner.importing import allowance, yuki_source
from runner.importing.allowance import Allowance
from runner.importing.definitions import Keys, Value
from runner.importing.draft import HEADS, without
from runner.importing.findings import Finding, LeftOut
from runner.importing.go_schedule import duration
from runner.importing.tunasync import show
from runner.importing.writing import ImportedFiles, machine_files, write
from runner.importing.yaml_text import block
from runner.importing.yuki_mirror import ConvertedMirror, convert
from runner.importing.yuki_source import YukiConfig, YukiMirror
from schemas.config import catalogue, record_factory
from schemas.config.catalogue import DEFAULTS, SITE, WORKERS
from schemas.config.sources import SourceFile
from schemas.config.system_folders import is_mirror_root, is_system_folder
from schemas.errors import SkipjackError
from schemas.names import is_name
from schemas.problems import InvalidConfigError, shown
from schemas.records import Mirror
from schemas.units import setting_duration

STEPS = "docs/from-yuki.md has the steps."
_LOGS = "/var/log/yuki"
_HEAD = "# From yuki's daemon.toml: inherited by all mirrors.\n"
_NOT_KEPT = {
    "post_sync": "Write what is still needed as `exec_on_success` and `exec_on_failure`; variables have other names.",
    "images_upgrade_interval": "Renew images with `podman pull` or `docker pull`.",
    "owner": "Files belong to the user of Skipjack's units: give the directories to it.",
}
"""Options of the daemon that are reported if they are set, and what to do."""


def import_yuki(folder: str, into: str, secrets: str | None, worker: str, *, force: bool) -> int:
    """Write the repository into a folder, and the machine's settings and policy beside it; print all findings.

    Return the exit code, which is 1 if there are findings.
    """
    into, place = os.path.abspath(into), os.path.abspath(secrets or "secrets")
    if not is_name(worker):
        raise SkipjackError(f"`{shown(worker)}` is not a valid name for a worker.", "Name another one with `--worker`.")
    drafting = _YukiDrafting(yuki_source.read(folder), worker, place)
    files, settings, policy = drafting.run()
    passwords = {name: each.password for name, each in drafting.converted.items() if each.password}
    if passwords and secrets is None:
        raise SkipjackError(
            f"the configuration has passwords: {', '.join(sorted(passwords))}.",
            "Name a folder for them on the machine of the worker with `--secrets DIR`.",
        )
    machine = machine_files(os.path.dirname(into), "", settings, policy, program="yuki")
    written = {os.path.join(place, name): f"{word}\n" for name, word in passwords.items()}
    output = ImportedFiles(into, files, place, written, machine)
    write(output, force=force)
    show(output, drafting.findings, STEPS)
    return 1 if drafting.findings else 0


class _YukiDrafting:
    def __init__(self, config: YukiConfig, worker: str, secrets: str) -> None:
        self._config, self._worker, self._secrets = config, worker, secrets
        self._found: set[Finding] = set(config.findings)
        self._mirrors: dict[str, YukiMirror] = {}
        self.converted: dict[str, ConvertedMirror] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return all findings, by their places."""
        return tuple(sorted(self._found | {each for found in self.converted.values() for each in found.findings}))

    def run(self) -> tuple[dict[str, str], str, str]:
        """Return the files of the repository, and the settings and the policy of the machine."""
        self._name_all()
        root = _root(self._mirrors.values())
        for name, mirror in self._mirrors.items():
            try:
                self.converted[name] = convert(mirror, self._config, root, os.path.join(self._secrets, name))
            except LeftOut as left_out:
                self._found.add(left_out.finding)
        settings = self._settings(root)
        defaults = self._defaults()
        self._report_all()
        policy = self._policy(self._valid(defaults), settings)
        return self._texts(defaults), block(settings), block(policy)

    def _report(self, place: Value, what: str, todo: str) -> None:
        self._found.add(place.finding(what, todo))

    def _name_all(self) -> None:
        """Take each mirror with a valid name of its own; in yuki the last one of a name counts."""
        for mirror in self._config.mirrors:
            name, place = mirror.get("name", ""), mirror.at("name")
            same = next((each for each in self._mirrors if each.lower() == name.lower()), None)
            if not is_name(name):
                todo = "Use letters, digits and `._-`, at most 64, and begin with a letter or digit."
                self._report(place, f"The mirror is left out: `{shown(name)}` is not a valid name.", todo)
            elif same is not None:
                what = f"The mirror is left out: another one is called `{same}`."
                self._report(self._mirrors.pop(same).at("name"), what, "Rename one of them.")
                self._mirrors[name] = mirror
            else:
                self._mirrors[name] = mirror

    def _settings(self, root: str) -> Keys:
        logs = str(self._config.get("repo_logs_dir", _LOGS))
        keys: Keys = {
            "worker": self._worker,
            # yuki has no repository, and the key is required: the head of the file tells to replace it.
            "repository": {"url": "https://git.example.org/mirrors.git"},
            "mirror_root": root,
            "start": "held",
        }
        if any("docker_image" in found.keys for found in self.converted.values()):
            keys["container_program"] = "docker"
        if logs.startswith("/") and not is_system_folder(os.path.normpath(logs)):
            keys["log_dir"] = os.path.normpath(logs)
        else:
            self._report(self._config.daemon["repo_logs_dir"], "`repo_logs_dir` is left out.", "Set `log_dir`.")
        return {key: value for key, value in keys.items() if value}

    def _defaults(self) -> Keys:
        keys: Keys = {"worker": self._worker, "provider": "rsync"}
        place = self._config.daemon.get("sync_timeout")
        if place is None or place.value in (0, "0"):
            return keys
        if seconds := duration(str(place.value)):
            what = "`sync_timeout` is for all attempts of a sync together in yuki; here `timeout` is for each."
            self._report(place, what, "Check that it is short enough.")
            return keys | {"timeout": setting_duration(seconds)}
        self._report(
            place, "`sync_timeout` is left out: it is not a valid duration.", f"Set `timeout` in `{DEFAULTS}`."
        )
        return keys

    def _report_all(self) -> None:
        """Report what holds for all mirrors."""
        for option, todo in _NOT_KEPT.items():
            if self._config.get(option, None):
                self._report(self._config.daemon[option], f"`{option}` is left out.", todo)
        first = min((mirror.place for mirror in self._mirrors.values()), default=None)
        place = min(self._config.daemon.values(), key=lambda each: each.line, default=first)
        if place is None:
            return
        self._report(place, "yuki starts any number of syncs at once, Skipjack 4.", f"Set `slots` in `{WORKERS}`.")
        if any("cron" in found.keys for found in self.converted.values()):
            what = "yuki reads `cron` in the time zone of its machine, Skipjack in that of the site, which is UTC."
            self._report(place, what, f"Set `time_zone` in `{SITE}`.")

    def _valid(self, defaults: Keys) -> Sequence[Mirror]:
        """Return the mirrors as the catalogue loads them; leave out those with problems."""
        while True:
            texts = self._texts(defaults)
            found = catalogue.load([SourceFile(path, text.encode()) for path, text in texts.items()])
            for problem in found.problems:
                name = problem.file.removesuffix(".yml")
                if name not in self._mirrors:
                    raise InvalidConfigError("the imported files are invalid:", [problem])
                self._leave_out(name, problem.what, problem.todo)
            if not found.problems:
                return found.mirrors

    def _leave_out(self, name: str, what: str, todo: str) -> None:
        if self.converted.pop(name, None) is not None:
            self._report(self._mirrors[name].place, f"The mirror is left out: {what}", todo)

    def _policy(self, mirrors: Sequence[Mirror], settings: Keys) -> Keys:
        """Return the keys of the policy that allows the mirrors; leave out those that no policy can allow."""
        decision = allowance.decide(mirrors, record_factory.runner_settings(settings))
        for made, names in decision.causes:
            self._report_allowance(made, names)
        for name, (what, todo) in decision.refused:
            self._leave_out(name, what, todo)
        return decision.keys

    def _report_allowance(self, made: Allowance, names: Sequence[str]) -> None:
        if made.cause == "password":
            return  # `--secrets` names the folder on purpose
        more = f", for {len(names)} mirrors" if len(names) > 1 else ""
        what = f"`{made.cause}`: denied by default; `policy.yml` has `{made.entry}` in `{made.key}`{more}."
        self._report(self._mirrors[names[0]].place, what, "Check that this is wanted.")

    def _texts(self, defaults: Keys) -> dict[str, str]:
        texts = {
            SITE: HEADS[SITE] + block({"title": "Mirrors"}),
            WORKERS: HEADS[WORKERS] + block({"workers": {self._worker: {}}}),
            DEFAULTS: _HEAD + block(without(defaults, {})),
        }
        for name, found in self.converted.items():
            head = f"# From yuki's {os.path.basename(self._mirrors[name].place.file)}.\n"
            texts[f"{name}.yml"] = head + block(without(found.keys, defaults))
        return texts


def _root(mirrors: Iterable[YukiMirror]) -> str:
    """Return the folder above most mirrors; empty if there is none that can be a worker's `mirror_root`."""
    paths = [mirror.get("storageDir", "") for mirror in mirrors]
    above = Counter(os.path.dirname(os.path.normpath(path)) for path in paths if path.startswith("/"))
    return next((folder for folder, _count in above.most_common() if is_mirror_root(folder)), "")
