"""`python -m sitegen`, for installations without `skipjack-manager` in the path."""

import sys

from sitegen.cli import main

sys.exit(main())
