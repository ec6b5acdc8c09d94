"""One writer for one place: a lock that ends with the process that holds it, however it ends."""

import contextlib
import errno
import fcntl
import itertools
import os
import pathlib
import re
import shlex
import socket
import stat
import sys

from ladagan_tf.errors import InputError, warn
from ladagan_tf.files import writing

NOTE_BYTES = 200  # of a holder's description
NOTE = re.compile(rb"process \d+ on ")  # how that begins
ATTEMPTS = 1000  # holders may take the folder along as often
# Nothing is followed or waited for: what lies there may be somebody else's.
OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
UNKNOWN = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # what file systems without locks say


@contextlib.contextmanager
def locked(path, flag="out", inside=False):
    """Keeps every other process away from a place as long as the block lasts.

    The lock is on a file `.lock` in a folder, or `.NAME.lock` beside what is yet to appear. The
    system takes it back from a process that is killed; the file that is left then locks nobody
    out. On file systems without locks a line warns and the work goes on.

    Args:
        path: what is written.
        flag: str, the flag named in messages.
        inside: bool, whether it is a folder that is worked in, and made if it is not there; else it
            appears at the end, in a folder that is made. What was made goes if nothing came into
            it.

    Raises:
        InputError: naming the process that holds it; if what is there under the lock's name is no
            lock; or if nothing can be written there.
    """
    path = pathlib.Path(path)
    folder = path if inside else path.parent
    made = [new for new in (folder, *folder.parents) if not new.exists()]
    file = folder / (".lock" if inside else f".{path.name}.lock")
    with writing(path, flag):
        handle = _take(file, f"{flag}={path}")
    try:
        with writing(path, flag):
            os.ftruncate(handle, 0)
            os.write(handle, _this_process())
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)
        for new in made:
            with contextlib.suppress(OSError):  # it is no longer empty
                new.rmdir()


def _take(file, place):
    """An open descriptor of the locked file; InputError if another process has it."""
    for attempt in itertools.count(1):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # "file exists" would not say what is wrong with that
            raise NotADirectoryError(errno.ENOTDIR, f"{error.filename} is no folder") from None
        try:
            handle = os.open(file, OPEN, 0o666)
        except FileNotFoundError:
            if attempt == ATTEMPTS:  # a folder that takes no files, as /proc
                raise
            continue  # its holder took the folder along
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # link, folder, socket
                raise _foreign(file, place) from None
            if error.errno == errno.EACCES and os.path.lexists(file):  # the folder may be open
                raise InputError(
                    f"{place}: {file} is another user's lock; delete it if nobody writes there, "
                    "or give another place"
                ) from None
            raise
        if not _is_lock(handle):
            os.close(handle)
            raise _foreign(file, place)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(handle, "rb") as held:
                said = held.read(NOTE_BYTES).decode("utf-8", "replace")
            holder = " ".join(said.split()) or "another process"
            raise InputError(
                f"{place}: {holder} is writing there; wait until it ends, or give another place"
            ) from None
        except OSError as error:
            if error.errno not in UNKNOWN:
                os.close(handle)
                raise
            warn(f"{place}: this file system has no locks; see that nothing else writes there")
            return handle
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(file)):
                return handle
        os.close(handle)  # its last holder deleted it meanwhile


def _is_lock(handle):
    """Whether an open file is ours: empty, or with a note, which is written over and deleted."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return False
    said = os.pread(handle, NOTE_BYTES, 0)
    return not said or NOTE.match(said) is not None


def _foreign(file, place):
    return InputError(f"{place}: {file} is no lock of ours; move it, or give another place")


def _this_process():
    command = shlex.join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
    words = f"process {os.getpid()} on {socket.gethostname()} ({command}"
    return words.encode("utf-8", "replace")[: NOTE_BYTES - 1] + b")"
