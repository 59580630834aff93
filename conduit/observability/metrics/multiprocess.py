"""The numbers of all workers in one folder: the sum of the living and the dead, to the last request."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson

from conduit.observability.metrics.metrics import Metric
from conduit.observability.metrics.samples import BY_NAME, SHAPE, SIZE, Samples, Series, parsed

Numbers = Sequence[float]
PAST = f"{SHAPE}.past"
TRIES = 100


class Multiprocess:
    """Processes that count together in `folder`. Whoever lives holds a lock on its file, so that the dead are known.

    `kept`: the folder stays when the last one leaves; otherwise it is cleared away.
    """

    def __init__(self, folder: Path, *, kept: bool) -> None:
        self.folder, self._kept = folder, kept
        self._own: dict[Path, int] = {}

    def join(self, name: str) -> Samples:
        """A file of one's own, `name` being unique for ever. Whoever died meanwhile is buried first. Raises OSError."""
        for _ in range(TRIES):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError), self._locked(fcntl.LOCK_EX):
                self._bury()
                path = self.folder / f"{SHAPE}.{name}"
                samples = Samples(path)
                self._own[path] = fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                fcntl.flock(fd, fcntl.LOCK_EX)
                return samples
        raise FileNotFoundError(str(self.folder))

    def leave(self, samples: Samples) -> None:
        """In order: what was counted stays for the others, and the last one clears the folder away."""
        path = samples.path
        samples.close()
        if path is None or path not in self._own:
            return
        with suppress(OSError), self._locked(fcntl.LOCK_EX):
            os.close(self._own.pop(path))
            if not self._kept and not any(map(_lives, self._files())):
                shutil.rmtree(self.folder, ignore_errors=True)

    def read(self) -> dict[Series, Numbers]:
        """All together. Raises OSError when the folder has been taken away."""
        with self._locked(fcntl.LOCK_SH):
            past, buried = self._past()
            living: dict[Series, list[Numbers]] = {}
            for path in self._files():
                if path.name in buried:
                    continue
                for series, numbers in _of_file(path, lives=_lives(path)):
                    living.setdefault(series, []).append(numbers)
        return _summed([*past.items(), *((s, n) for s, several in living.items() for n in several)])

    # -------------------------------------------------------------- the dead

    def _bury(self) -> None:
        """Add up those who died. Their names are written down with the sum, so that no one is counted twice when this
        process dies between the two steps."""
        past, buried = self._past()
        dead = [path for path in self._files() if not _lives(path)]
        new = [path for path in dead if path.name not in buried]
        if new:
            found = [each for path in new for each in _of_file(path, lives=False)]
            rows = [[m.name, labels, numbers] for (m, labels), numbers in _summed([*past.items(), *found]).items()]
            written = self.folder / f"{PAST}.new"
            written.write_bytes(orjson.dumps({"buried": [path.name for path in dead], "rows": rows}))
            written.replace(self.folder / PAST)
        for path in dead:
            path.unlink(missing_ok=True)

    def _past(self) -> tuple[dict[Series, Numbers], set[str]]:
        try:
            said = orjson.loads((self.folder / PAST).read_bytes())
        except FileNotFoundError:
            return {}, set()
        return {(BY_NAME[name], tuple(labels)): numbers for name, labels, numbers in said["rows"]}, set(said["buried"])

    def _files(self) -> list[Path]:
        """Of processes of this version, living or dead."""
        return [path for path in sorted(self.folder.glob(f"{SHAPE}.*")) if not path.name.startswith(PAST)]

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Raises FileNotFoundError when the folder is cleared away meanwhile."""
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            if os.fstat(fd).st_nlink == 0:
                raise FileNotFoundError(str(self.folder))
            yield
        finally:
            os.close(fd)


def _lives(path: Path) -> bool:
    """Whether some process holds the lock on its file. A new file is locked before the folder's lock is let go."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _of_file(path: Path, *, lives: bool) -> Iterator[tuple[Series, Numbers]]:
    """Gauges only of the living: the dead have no requests in flight."""
    raw = path.read_bytes()
    if len(raw) == SIZE:
        yield from (found for found in parsed(memoryview(raw)) if lives or found[0][0].kind != "gauge")


def _summed(found: Iterable[tuple[Series, Numbers]]) -> dict[Series, Numbers]:
    together: dict[Series, list[Numbers]] = {}
    for series, numbers in found:
        together.setdefault(series, []).append(numbers)
    return {series: _one(series[0], several) for series, several in together.items()}


def _one(metric: Metric, several: Sequence[Numbers]) -> Numbers:
    columns = list(zip(*several, strict=True))
    if metric.kind != "gauge" or metric.over == "sum":
        return [sum(column) for column in columns]
    if metric.over == "mean":
        return [sum(column) / len(column) for column in columns]
    return [(max if metric.over == "max" else min)(column) for column in columns]


def own_numbers(samples: Samples) -> Mapping[Series, Numbers]:
    """Of one process alone, for who counts in no folder."""
    return dict(samples.read())
