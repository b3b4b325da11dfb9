"""`skipjack install` and `uninstall`: systemd units for Skipjack, and cron lines for machines without systemd.

`setup.py` describes an installation, `render.py` renders its files from the templates, `machine.py` changes the
machine, and `install.py` and `uninstall.py` have the order of the steps.
"""
