"""What do the exported policies of workers say to the valid mirrors?"""

from collections.abc import Iterator, Mapping, Sequence

from runner.checking.findings import POLICY
from runner.checking.key_places import place_of_named_value
from runner.policy import exported
from schemas.config.exported_policy import ExportedPolicy
from schemas.problems import Problem
from schemas.records import Mirror


def denials(
    mirrors: Sequence[Mirror],
    policies: Mapping[str, ExportedPolicy],
    files: Mapping[str, str],
    contents: Mapping[str, bytes | None],
) -> Iterator[Problem]:
    """Yield why workers deny mirrors, each in the file of its mirror, at a key that the message names.

    `policies` are those of workers by their names, `files` has the file of each mirror, `contents` that of each file.
    """
    for worker, policy in policies.items():
        here = [mirror for mirror in mirrors if mirror.worker == worker]
        judge = exported.judge(policy, here)
        for mirror in here:
            file = files[mirror.name]
            for what, todo in judge(mirror):
                place = place_of_named_value(contents[file] or b"", what)
                denied = f"The policy of `{worker}` denies `{mirror.name}`: {what}"
                yield Problem(file, place.line, place.column, denied, todo, POLICY)
