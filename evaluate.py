"""`ladagan evaluate` of this checkout, installed or not: `python evaluate.py --run_dir=...`."""

import sys

from ladagan_tf.__main__ import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
