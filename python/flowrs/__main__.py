"""Runs the ``flowrs`` command as ``python -m flowrs``."""

from __future__ import annotations

import sys

from flowrs.cli import main

if __name__ == "__main__":
    sys.exit(main())
