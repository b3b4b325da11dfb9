"""What does the machine's policy allow of containers? Free choice of a container's options would mean root's rights.

`docker_options` are checked word by word, so that none can be taken for the image, and so that an allowed option cannot
be used to get a denied one.
"""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence

from runner.base import file_view
from runner.base.file_policy import Violation
from runner.base.file_view import FileView
from runner.base.mirror_paths import Paths, lies_in
from runner.hooks.container import host_side
from schemas.records import Mirror, Policy

_ASK = "Ask the administrator of this machine to allow it, or remove it."

_OPTION = re.compile(r"(--[a-z][a-z0-9-]*)(?:=([^\x00-\x1f]*))?")

_FLAGS = frozenset({
    "--disable-content-trust", "--init", "--interactive", "--no-healthcheck", "--no-hosts", "--oom-kill-disable",
    "--privileged", "--publish-all", "--read-only", "--read-only-tmpfs", "--tty",
})  # fmt: skip
"""Options without a value; any other one without `=` would take the next word, maybe the image, as its value."""

OF_THE_MACHINE = "--network=host"
"""Must be listed with its value: services often trust every client on 127.0.0.1."""

_PLAIN_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""`host`, `none` or a network's name; not `container:NAME`, which is another container's, or a namespace's path."""


def violations(
    mirror: Mirror,
    paths: Paths,
    policy: Policy,
    private: Sequence[str] = (),
    files: FileView = file_view.MACHINE,
) -> Iterator[Violation]:
    """Yield everything about a mirror's container that the policy denies.

    `private` are paths that containers must not see, whatever the policy lists.
    """
    if not mirror.docker_image:
        return
    if not any(is_image(mirror.docker_image, pattern) for pattern in policy.images):
        yield f"The image `{mirror.docker_image}` is not allowed on this machine.", _ASK
    for volume in mirror.docker_volumes:
        yield from _volume(volume, paths, policy, private, files)
    for word in mirror.docker_options:
        yield from _option(word, policy)


def is_image(image: str, pattern: str) -> bool:
    """Return whether an image matches a pattern, each part between slashes on its own: the first may be a host."""
    pieces, patterns = image.split("/"), pattern.split("/")
    return len(pieces) == len(patterns) and all(map(fnmatch.fnmatchcase, pieces, patterns))


def _volume(volume: str, paths: Paths, policy: Policy, private: Sequence[str], files: FileView) -> Iterator[Violation]:
    path, real = host_side(volume, paths.directory, paths.log_dir), files.real
    if not any(lies_in(path, folder, real) for folder in (paths.directory, paths.log_dir, *policy.volumes)):
        shown = path if real(path) == os.path.normpath(path) else f"{path}, which resolves to {real(path)},"
        yield f"`docker_volumes` shows {shown} to the container, which this machine does not allow.", _ASK
    own = any(lies_in(path, folder, real) for folder in (paths.directory, paths.log_dir))
    secret = [each for each in private if lies_in(each, path, real) or (lies_in(path, each, real) and not own)]
    if secret:
        what = f"`docker_volumes` shows {path} to the container, and with it {secret[0]} of the worker."
        yield what, "Name a folder that holds none of the worker's own files."


def is_listed(word: str, policy: Policy) -> bool:
    """Return whether a policy lists an option, by its name or with its value."""
    return word in policy.docker_options or (word != OF_THE_MACHINE and word.partition("=")[0] in policy.docker_options)


def _option(word: str, policy: Policy) -> Iterator[Violation]:
    match = _OPTION.fullmatch(word)
    if match is None:
        yield f"`docker_options` holds `{word}`.", "Write each option as one word, `--name` or `--name=value`."
        return
    option, value = match.groups()
    if word == OF_THE_MACHINE and not is_listed(word, policy):
        what = f"With `{word}` in `docker_options` the container can reach services on 127.0.0.1 of this machine."
        yield what, f"Remove it, or ask the administrator of this machine to list `{word}` in `docker_options`."
    elif not is_listed(word, policy):
        others = [each for each in policy.docker_options if each.startswith(f"{option}=")]
        todo = f"It allows {', '.join(f'`{each}`' for each in others)}. {_ASK}" if others else _ASK
        yield f"`docker_options` holds `{word}`, which this machine does not allow.", todo
    elif value is None and option not in _FLAGS:
        yield f"`{option}` in `docker_options` would take the next word as its value.", f"Write `{option}=value`."
    elif option == "--network" and not _PLAIN_NETWORK.fullmatch(value or ""):
        yield (
            f"`{word}` joins the network of another container or process.",
            "Write `--network=none`, or a network's name.",
        )
    # Programs such as Traefik and Watchtower act on labels like `traefik.enable` of any container.
    elif option == "--label" and "." in (value or "").partition("=")[0]:
        yield f"`{word}` could be an instruction to another program of the machine.", "Choose a label without a dot."
