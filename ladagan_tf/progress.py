"""Progress bars, for whoever looks on: in a terminal, not in a file."""

import os
import sys

import tqdm

# Of a terminal that says 0 by 0, as those of docker and `script` may: tqdm would show nothing.
UNSAID = {"dynamic_ncols": False, "ncols": 80, "nrows": 24}


def progress_bar(total, unit, desc=None, **how):
    """A progress bar on standard error, as wide as the terminal; none where that is a file.

    Args:
        total: number of units; None if it is not known.
        unit: str, what is counted.
        desc: str before the bar, or None.
        how: further arguments of tqdm.

    Returns:
        tqdm.tqdm, also a context that closes it.
    """
    how = {"disable": None if sys.stderr else True, "dynamic_ncols": True, **how}
    if _is_unsaid():
        how |= UNSAID
    return tqdm.tqdm(total=total, unit=unit, desc=desc, **how)


def _is_unsaid():
    try:
        return 0 in os.get_terminal_size(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # closed, a file, or something in its place
        return False
