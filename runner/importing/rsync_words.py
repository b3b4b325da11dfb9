"""Lists of rsync options from tunasync, without those that decide what rsync prints."""

from runner.importing.definitions import Value
from runner.importing.findings import Finding
from schemas.problems import shown
from schemas.rsync import rsync_output


def without_output(place: Value) -> tuple[list[str], list[Finding]]:
    """Return the options that are kept, and a finding about the others."""
    words = place.value
    found = (*rsync_output.harmless(words), *rsync_output.formats(words))
    if not found:
        return list(words), []
    options = ", ".join(f"`{shown(each)}`" for each in found)
    what = f"{options} in a list of rsync options was left out: Skipjack sets the options for rsync's output."
    return list(rsync_output.without_output(words)), [
        place.finding(what, "Nothing to do: the log has a line for each change.")
    ]
