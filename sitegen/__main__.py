"""`python -m sitegen`, for whoever has no `skipjack-manager` in the path."""

import sys

from sitegen.cli import main

sys.exit(main())
