"""``python -m avnb.training METHOD -p NAME VALUE ...``: what avnb-train does."""

import sys

from avnb.training.command import main

if __name__ == "__main__":
    sys.exit(main())
