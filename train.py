"""`ladagan train` of this checkout, installed or not: `python train.py --config=cifar10`."""

import sys

from ladagan_tf.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
