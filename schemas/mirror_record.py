"""The frozen record of one mirror's definition, with the only defaults of its keys.

Separate from the other records, since each run and tick imports this module and does not need them. Durations are
seconds, sizes bytes. `files/mirror.schema.json` describes the keys; a test proves that both agree.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

RSYNC_PROVIDERS = ("rsync", "two-stage-rsync")
"""The built-in providers that run rsync themselves, with the keys of a mirror as its options."""

MOST_PATTERN_BYTES = 64 * 1024
"""Bytes of a pattern file of the repository at most: rsync compares each path of a mirror with each of its lines."""

NO_ENTRIES: Mapping[str, str] = MappingProxyType({})
"""The default of keys with mappings."""

NO_PLUGINS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
"""A mirror without keys of plug-ins."""


class Secret(NamedTuple):
    """The place of a secret: a file on the machine, or a systemd credential of the unit."""

    file: str | None = None
    credential: str | None = None


class SyncWindows(NamedTuple):
    """Sync windows, in which syncs may start, such as `mon-fri 22:00-06:00`; an empty `allowed` means at any time."""

    allowed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    stop_running: bool = False


class FreshnessFile(NamedTuple):
    """The timestamp file below an upstream, how far the mirror may be behind it, and how old it may be."""

    file: str
    max_lag: int = 86400
    max_age: int = 7 * 86400


class Mirror(NamedTuple):
    """One mirror on one worker, with everything that it inherits.

    `plugins` has the keys of each plug-in by the plug-in's name, with the defaults of its schema. All values below are
    immutable: mappings are proxies, lists are tuples.
    """

    name: str
    worker: str
    provider: str
    upstream: str
    title: str = ""
    description: str = ""
    homepage: str = ""
    category: str = ""
    role: str = "master"
    formerly: tuple[str, ...] = ()
    interval: int = 6 * 3600
    cron: str = ""
    jitter: int = 2 * 60
    after: tuple[str, ...] = ()
    sync_windows: SyncWindows | None = None
    retry: int = 2  # attempts with the first one, as in tunasync
    retry_delay: int = 10
    retry_after_failure: int = 10 * 60
    backoff_limit: int | None = None
    timeout: int | None = None
    stale_after: int | None = None
    freshness: FreshnessFile | None = None
    mirror_dir: str | None = None
    mirror_subdir: str = ""
    log_dir: str | None = None
    env: Mapping[str, str] = NO_ENTRIES
    command: str = ""
    success_exit_codes: tuple[int, ...] = ()
    fail_on_match: str = ""
    size_pattern: str = ""
    size_units: int = 1024
    progress_pattern: str = ""
    measure_size: bool = True
    exec_on_success: tuple[str, ...] = ()
    exec_on_failure: tuple[str, ...] = ()
    exec_on_success_extra: tuple[str, ...] = ()
    exec_on_failure_extra: tuple[str, ...] = ()
    exec_on_each_failure: bool = False
    exec_timeout: int = 5 * 60
    log_keep: int = 10  # as in tunasync
    log_max_age: int | None = None
    log_max_size: int = 64 * 1024**2
    log_compress: bool = True
    min_free_space: int = 256 * 1024**2
    memory_limit: int | None = None
    cpu_limit: str = ""
    io_weight: int | None = None
    zpool: str = ""
    btrfs_snapshot: bool = False
    snapshot_path: str | None = None
    docker_image: str = ""
    docker_volumes: tuple[str, ...] = ()
    docker_options: tuple[str, ...] = ()
    max_delete: int | str = "50%"
    max_delete_floor: int = 0
    max_delete_bytes: int | None = None
    trace: str = ""
    rsync_options: tuple[str, ...] = ()
    rsync_options_extra: tuple[str, ...] = ()
    rsync_override: tuple[str, ...] = ()
    rsync_override_only: bool = False
    rsync_timeout: int = 120  # as in tunasync
    rsync_no_timeout: bool = False
    rsync_success_exit_codes: tuple[int, ...] = ()
    stage1_profile: str | tuple[str, ...] = "debian"
    use_ipv4: bool = False
    use_ipv6: bool = False
    exclude_file: str | None = None
    username: str = ""
    password: Secret | None = None
    plugins: Mapping[str, Mapping[str, Any]] = NO_PLUGINS
