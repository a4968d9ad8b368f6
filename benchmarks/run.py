"""Run the benchmarks by path, from anywhere: `python benchmarks/run.py`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

if __name__ == "__main__":
    from benchmarks.__main__ import main

    sys.exit(main())
