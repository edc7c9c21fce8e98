"""``python -m zenlead`` is ``zenlead``."""

from __future__ import annotations

import sys

from zenlead.cli import main

if __name__ == "__main__":
    sys.exit(main())
