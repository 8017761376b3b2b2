"""`python -m fgbg` and `torchrun -m fgbg`."""

import os
import sys

from fgbg.cli import main

status = main()
if os.environ.get("WORLD_SIZE", "1") != "1":
    from fgbg.engine import leave_processes

    leave_processes(status)
sys.exit(status)
