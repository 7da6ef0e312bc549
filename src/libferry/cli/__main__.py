"""``python -m libferry.cli`` is the command ``libferry``."""

import sys

from libferry.cli import main

sys.exit(main())
