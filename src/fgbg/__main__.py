"""`python -m fgbg` and `torchrun -m fgbg`."""

import sys

from fgbg.cli import main

sys.exit(main())
