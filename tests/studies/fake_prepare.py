"""Stands in for prepare.py: writes what it was given where the set would be."""

import pathlib
import sys
import time

out = pathlib.Path(sys.argv[-1].removeprefix("--out="))
if "--fail" in sys.argv:
    print("error: --fail is no flag", file=sys.stderr)
    sys.exit(2)
if "--wait" in sys.argv:
    (out.parent / "waiting").touch()
    time.sleep(60)
with open(out, "a") as file:
    print(*sys.argv[1:], file=file)
print(f"{out}: prepared")
