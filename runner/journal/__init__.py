"""The journal: one SQLite file with the states and runs of a worker's mirrors, and the reports for its manager.

Each table has one module that writes it:

| Table | Module | Content |
| --- | --- | --- |
| `mirror` | `mirror_table` | the state of each mirror |
| `run` | `run_table` | runs, active and ended |
| `override`, `request`, `released` | `override_table` | operators' overrides and start requests, `skipjack release` |
| `in_force`, `pin` | `revision_table` | the revisions that were in force, and the pin to one of them |
| `outbox`, `identity` | `outbox` | reports that the manager has not acknowledged, and the journal's own id |
| `command`, `told_by_manager` | `command_table` | commands of the manager, and its revision |

`journal` makes transactions of them, `sqlite_file` opens the file, `migrations` has the definitions of the tables.
Seldom needed: `damage` (is the file damaged?), `readonly_copy`, `migration_backup`, `unused_space`.
"""
