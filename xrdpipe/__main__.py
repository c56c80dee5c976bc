"""Run the command line with ``python -m xrdpipe``."""

import sys

from .cli.main import main

sys.exit(main())
