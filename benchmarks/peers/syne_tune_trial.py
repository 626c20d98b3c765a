"""One trial of Syne Tune: the parameter itself."""

import sys

from syne_tune import Reporter  # type: ignore[import-not-found]  # a peer, see with_ray.py

from benchmarks.marks import marked

if __name__ == "__main__":
    with marked():
        accuracy = float(sys.argv[sys.argv.index("--x") + 1])
    Reporter()(accuracy=accuracy)
