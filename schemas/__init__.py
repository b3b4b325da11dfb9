"""The contract between worker and manager: files, messages, records, states and pure rules.

No module here imports `runner` or `sitegen`; those two share only this package and HTTP.
"""

VERSION = "0.1.0"
"""Version of the whole project, also part of every report."""
