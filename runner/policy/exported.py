"""Which definitions does the policy of another machine deny? Judged from an exported policy, on any machine.

The rules are those of `runner.policy.policy`, which the worker applies. What depends on its files cannot be judged
here, and the worker may still deny it:

- links: each path counts as it is written, so a directory below a link may be denied here or allowed here by mistake,
  and a program that is a link to rsync is not judged as rsync;
- password and pattern files: whether they exist, are regular files, have one link, and merge no other file;
- the home of the worker's user, and the folders of systemd's credentials beside `/etc/skipjack/credentials`, which no
  container may see and no folder of pattern files may hold;
- an ssh at another path than `/usr/bin/ssh`;
- plug-ins: whether they are installed there and can be imported.
"""

from collections.abc import Callable, Sequence

from runner.base import file_policy, file_view, private_paths
from runner.base.file_policy import Violation
from runner.base.mirror_paths import Paths, paths_of
from runner.policy.policy import violations
from schemas.config.exported_policy import ExportedPolicy
from schemas.records import Mirror

_VIEW = file_view.ELSEWHERE


def judged(mirror: Mirror, exported: ExportedPolicy) -> list[Violation]:
    """Return all violations of one definition, as if it were the only one of its worker."""
    return judge(exported, [mirror])(mirror)


def judge(exported: ExportedPolicy, mirrors: Sequence[Mirror]) -> Callable[[Mirror], list[Violation]]:
    """Return a function that returns all violations of a definition.

    `mirrors` are all definitions of the worker: none of them may contain the password file of another one.
    """
    settings, policy = exported.settings, exported.policy
    reading = [each for each in mirrors if file_policy.may_read_its_password(each, policy, _VIEW)]
    private = private_paths.private(settings, reading, files=_VIEW)
    return lambda mirror: list(violations(mirror, paths_on(exported, mirror), settings, policy, private))


def paths_on(exported: ExportedPolicy, mirror: Mirror) -> Paths:
    """Return the paths of a mirror on the machine of an exported policy."""
    return paths_of(mirror, exported.settings, exported.policy, _VIEW.real)
