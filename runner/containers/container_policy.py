"""What a machine's policy says about containers: whoever may start one as he likes can become root.

`docker_options` are checked word by word, so that none can be taken for the image, and none that is allowed can be used
to reach what is not.
"""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence

from runner.base.mirror_paths import Paths, lies_in
from runner.hooks.container import host_side
from schemas.records import Mirror, Policy

Violation = tuple[str, str]

_ASK = "Ask whoever keeps this machine's policy, or leave it out."

_OPTION = re.compile(r"(--[a-z][a-z0-9-]*)(?:=([^\x00-\x1f]*))?")

_FLAGS = frozenset({
    "--disable-content-trust", "--init", "--interactive", "--no-healthcheck", "--no-hosts", "--oom-kill-disable",
    "--privileged", "--publish-all", "--read-only", "--read-only-tmpfs", "--tty",
})  # fmt: skip
"""Options that need no value; any other one without `=` would take the next word, be it the image, as its own."""

OF_THE_MACHINE = "--network=host"
"""Has to be listed as it is: services often trust whoever reaches them on 127.0.0.1."""

_PLAIN_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""`host`, `none` or a network's name; not `container:NAME`, another one's, nor a namespace's path."""


def violations(mirror: Mirror, paths: Paths, policy: Policy, private: Sequence[str] = ()) -> Iterator[Violation]:
    """Everything about a mirror's container that this machine does not allow.

    `private` are paths that no container sees, whatever the policy lists.
    """
    if not mirror.docker_image:
        return
    if not any(is_image(mirror.docker_image, pattern) for pattern in policy.images):
        yield f"The image `{mirror.docker_image}` is not allowed on this machine.", _ASK
    for volume in mirror.docker_volumes:
        yield from _volume(volume, paths, policy, private)
    for word in mirror.docker_options:
        yield from _option(word, policy)


def is_image(image: str, pattern: str) -> bool:
    """Whether an image is one of a pattern's: piece by piece, as in `mirror-tools:5000/x` the first one is a host."""
    pieces, patterns = image.split("/"), pattern.split("/")
    return len(pieces) == len(patterns) and all(map(fnmatch.fnmatchcase, pieces, patterns))


def _volume(volume: str, paths: Paths, policy: Policy, private: Sequence[str]) -> Iterator[Violation]:
    path = host_side(volume, paths.directory, paths.log_dir)
    if not any(lies_in(path, folder) for folder in (paths.directory, paths.log_dir, *policy.volumes)):
        real = os.path.realpath(path)
        shown = path if real == os.path.normpath(path) else f"{path}, which is really {real}"
        yield f"`docker_volumes` shows {shown} to the container, which this machine does not allow.", _ASK
    own = any(lies_in(path, folder) for folder in (paths.directory, paths.log_dir))
    secret = [each for each in private if lies_in(each, path) or (lies_in(path, each) and not own)]
    if secret:
        what = f"`docker_volumes` shows {path} to the container, and with it {secret[0]} of the worker."
        yield what, "Name a folder that holds nothing of the worker's own."


def is_listed(word: str, policy: Policy) -> bool:
    """Whether a policy lists an option, by its name or with its value."""
    return word in policy.docker_options or (word != OF_THE_MACHINE and word.partition("=")[0] in policy.docker_options)


def _option(word: str, policy: Policy) -> Iterator[Violation]:
    match = _OPTION.fullmatch(word)
    if match is None:
        yield f"`docker_options` holds `{word}`.", "Write each option as one word, `--name` or `--name=value`."
        return
    option, value = match.groups()
    if word == OF_THE_MACHINE and not is_listed(word, policy):
        what = f"With `{word}` in `docker_options` the container reaches what listens on 127.0.0.1 of this machine."
        yield what, f"Leave it out, or ask whoever keeps this machine's policy to list `{word}` in `docker_options`."
    elif not is_listed(word, policy):
        others = [each for each in policy.docker_options if each.startswith(f"{option}=")]
        todo = f"Of this option it allows {', '.join(f'`{each}`' for each in others)}. {_ASK}" if others else _ASK
        yield f"`docker_options` holds `{word}`, which this machine does not allow.", todo
    elif value is None and option not in _FLAGS:
        yield f"`{option}` in `docker_options` would take the next word as its value.", f"Write `{option}=value`."
    elif option == "--network" and not _PLAIN_NETWORK.fullmatch(value or ""):
        yield f"`{word}` joins what belongs to others.", "Write `--network=none`, or the name of a network."
    elif option == "--label" and "." in (value or "").partition("=")[0]:
        yield f"`{word}` could be an order to another program of the machine.", "Choose a label without a dot."
