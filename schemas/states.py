"""The states of a mirror, on two axes that are never mixed.

The *run status* says how the last run went; *freshness* says whether visitors can trust the data. tunasync's
clients know only seven statuses and refuse a list that holds another, so every own status maps to one of them.
"""

NONE = "none"
QUEUED = "queued"
LAUNCHING = "launching"
PRE_SYNCING = "pre-syncing"
SYNCING = "syncing"
SUCCESS = "success"
FAILED = "failed"
TIMED_OUT = "timed-out"
STOPPED = "stopped"
INTERRUPTED = "interrupted"
REFUSED = "refused"
LAUNCH_FAILED = "launch-failed"
PAUSED = "paused"
DISABLED = "disabled"

TO_TUNASYNC = {
    NONE: "none",
    QUEUED: "pre-syncing",
    LAUNCHING: "pre-syncing",
    PRE_SYNCING: "pre-syncing",
    SYNCING: "syncing",
    SUCCESS: "success",
    FAILED: "failed",
    TIMED_OUT: "failed",
    STOPPED: "paused",
    INTERRUPTED: "failed",
    REFUSED: "failed",
    LAUNCH_FAILED: "failed",
    PAUSED: "paused",
    DISABLED: "disabled",
}
"""Every run status, with the one of tunasync's seven that existing clients are shown instead."""

ACTIVE = frozenset({LAUNCHING, PRE_SYNCING, SYNCING})
"""A run in one of these states has, or is about to have, a process of its own."""

ENDS = frozenset({SUCCESS, FAILED, TIMED_OUT, STOPPED, INTERRUPTED, REFUSED, LAUNCH_FAILED})
"""How a run can end. Reports of an end are never merged or dropped."""

FRESH = "fresh"
STALE = "stale"
UNKNOWN = "unknown"
FRESHNESS = (FRESH, STALE, UNKNOWN)

NEVER = "never"
SILENCE = "silence"
AGE = "age"
LAG = "lag"
UPSTREAM = "upstream"
SWITCHED_OFF = "switched-off"
CLOCK = "clock"
CAUSES = (NEVER, SILENCE, AGE, LAG, UPSTREAM, SWITCHED_OFF, CLOCK)
"""Why a mirror is not fresh: it never succeeded, its worker is silent, its last success is too long ago, it is behind
its upstream, the upstream stands still, somebody paused or disabled it, which is why nothing succeeds any more, or
its last success lies in the future, so that nobody knows when it was.
Only an upstream that stands still is the upstream's fault."""

OFF = frozenset({PAUSED, DISABLED})
"""What somebody switched off, which is why it does not sync."""
