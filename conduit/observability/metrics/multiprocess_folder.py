"""Where the workers of one server find each other's numbers, without having been told of each other."""

import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a place of the operating system; our folder in it is private
PREFIX = "conduit-metrics"


def meeting_place() -> Path | None:
    """A folder that all workers of this server name alike: after the process that started them, and the time at which
    that one was started, since numbers of processes come back. None where nothing can be written."""
    base = _base()
    return None if base is None else base / f"{PREFIX}-{os.getuid()}-{_server()}-{_started(_server())}"


def is_private(folder: Path) -> bool:
    """Whether nobody else can have put it there to be written into."""
    with suppress(FileNotFoundError):
        found = folder.lstat()
        return folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid()
    return True


def clear_away_old_ones() -> None:
    """Folders of servers that died too fast to do so."""
    base = _base()
    for folder in base.glob(f"{PREFIX}-{os.getuid()}-*") if base is not None else ():
        pid, _, started = folder.name.removeprefix(f"{PREFIX}-{os.getuid()}-").partition("-")
        if pid.isdecimal() and is_private(folder) and _started(int(pid)) != started:
            shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path | None:
    """Memory rather than a disk: what is counted here is written all the time, and worth nothing after a restart."""
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        return SHARED_MEMORY
    with suppress(FileNotFoundError):
        return Path(tempfile.gettempdir())
    return None


def _server() -> int:
    """The process that starts workers, or this one if it is alone."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


def _started(pid: int) -> str:
    """When, in the kernel's ticks; "gone" if there is no such process, "0" where there is no /proc."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return "gone"
        except OSError:
            pass
        return "0"
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()[19]
    except OSError:
        return "gone"
