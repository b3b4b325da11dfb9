"""The parser of `skipjack init`, and which of its options belong together.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
import re

from schemas.subcommands import Subcommands, add_subcommand


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    parser = add_subcommand(commands, "init", "create a config repository, or the settings of a machine")
    words = "the folder, which is created if missing (default: %(default)s)"
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help=words)
    modes = parser.add_mutually_exclusive_group()
    words = "renew only the schemas for editors in an existing config repository"
    modes.add_argument("--update", action="store_true", help=words)
    words = "write settings of a worker with all keys as comments, and a policy"
    modes.add_argument("--worker", action="store_true", help=words)
    modes.add_argument("--manager", action="store_true", help="write settings of the manager with all keys as comments")
    words = "the forge whose files are written: github, gitlab, forgejo or none (default: that of `origin`, or github)"
    parser.add_argument("--ci", choices=("github", "gitlab", "forgejo", "none"), metavar="FORGE", help=words)
    words = "what CI installs Skipjack from, as pip takes it, with a tag or a commit: git+https://HOST/PATH@TAG"
    parser.add_argument("--source", type=_source, metavar="SOURCE", help=words)
    words = "title of the site (default: from the folder's or the machine's name)"
    parser.add_argument("--title", type=_one_line, metavar="TEXT", help=words)
    words = "IANA time zone of the site (default: that of this machine)"
    parser.add_argument("--time-zone", type=_time_zone, metavar="ZONE", help=words)
    words = "name of the worker (default: the name of this machine)"
    parser.add_argument("--worker-name", type=_name, metavar="NAME", help=words)
    words = "address of the config repository (default: `origin` of the repository of DIR)"
    parser.add_argument("--repository", type=_one_line, metavar="URL", help=words)
    words = "file for the settings (default: runner.yml or manager.yml in /etc/skipjack, or in ~/.config/skipjack)"
    parser.add_argument("--settings", metavar="FILE", help=words)
    parser.set_defaults(command=_init, reject=parser.error)


_OF_MODE = {
    "": ("ci", "source", "title", "time_zone", "worker_name"),
    "update": (),
    "worker": ("worker_name", "repository", "settings"),
    "manager": ("repository", "settings"),
}
"""The options of each mode of `init`."""


def _init(arguments: argparse.Namespace) -> int:
    mode = next((each for each in ("update", "worker", "manager") if getattr(arguments, each)), "")
    every = dict.fromkeys(option for options in _OF_MODE.values() for option in options)
    for option in (each for each in every if each not in _OF_MODE[mode] and getattr(arguments, each) is not None):
        name = f"--{option.replace('_', '-')}"
        modes = " and ".join(f"--{each}" for each, options in _OF_MODE.items() if each and option in options)
        arguments.reject(f"{name} has no effect {f'with --{mode}' if mode else f'without {modes}'}")
    if mode in ("worker", "manager"):
        from runner.authoring import settings_init

        wanted = settings_init.Wanted(arguments.settings, arguments.repository, arguments.worker_name)
        settings_init.write(mode, arguments.directory, wanted)
        return 0
    from runner.authoring import init

    if mode == "update":
        init.update(arguments.directory)
        return 0
    choices = init.Choices(arguments.ci, arguments.title, arguments.time_zone, arguments.worker_name, arguments.source)
    init.create(arguments.directory, choices)
    return 0


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("must be one line of printable text")
    return text


def _source(text: str) -> str:
    if re.search(r"(?i)\bhttps?://[^/]*@", text):
        words = "must not have a user, token or password: it is written into the repository. Let a secret of the forge"
        raise argparse.ArgumentTypeError(f"{words} have it")
    return _one_line(text)


def _time_zone(text: str) -> str:
    from schemas.config.rules import is_time_zone

    if not is_time_zone(text):
        raise argparse.ArgumentTypeError(f"unknown time zone `{text}`; write an IANA name such as Europe/Berlin")
    return text


def _name(text: str) -> str:
    from schemas.names import is_name

    if not is_name(text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a name: use up to 64 letters, digits and `._-`")
    return text
