"""`skipjack install` and `uninstall`: Skipjack as units of systemd, and cron lines for machines without it.

`setup.py` says what is to be installed, `render.py` makes the files' texts from the templates beside it, `machine.py`
is the machine that they go to, `install.py` and `uninstall.py` do the work in an order that a person can follow.
"""
