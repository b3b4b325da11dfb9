"""The contract between the rooms: files, messages, records, states and pure rules.

Nothing in here imports `runner` or `sitegen`; those two meet only in this package and over HTTP.
"""

VERSION = "0.1.0"
"""Version of the whole project, also told in every report."""
