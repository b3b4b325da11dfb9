"""From the state of a running tunasync manager to this worker's journal: `skipjack takeover`.

`old_manager` reads the jobs of a worker there, `job_state` converts one of them without I/O, and `takeover` writes all
of them in one transaction and prints what was taken.
"""
