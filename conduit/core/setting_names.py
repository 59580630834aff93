"""Names that nearly are a setting, or look like one of ours, and are none: a cap that is misspelt caps nothing."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

OURS = (
    "API_",
    "BUDGET_",
    "CACHE_",
    "CAP_",
    "CONDUIT_",
    "FEEDBACK_",
    "IDEMPOTENCY_",
    "JUDGE_",
    "PAYLOAD_LOG_",
    "SANDBOX_",
    "SPOOL_",
    "UPSTREAM_",
)
"""What begins like this is meant for Conduit. DATABASE_, REDIS_, LOG_, OTEL_ and others belong to many programs: of
those only what nearly is a setting is one misspelt."""
OTHERS = frozenset({"APP_HOST", "APP_KEY", "APP_PORT", "APP_RATE_LIMIT", "CONDUIT_CONFIG", "CONDUIT_TEST_DATABASE_URL"})
"""Near to ours, and in use for something else."""
ONE_SLIP, TWO_SLIPS = 6, 10
"""Letters that a name must have for so many wrong ones to be a slip of the pen."""

LINK = re.compile(r"(tcp|udp|sctp)://[^/\s]+:\d+")
"""The value that Kubernetes and Docker give to NAME_PORT, for a service NAME."""
SERVICE = re.compile(r".+_SERVICE_(HOST|PORT(_.+)?)|.+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")


@dataclass(frozen=True, slots=True)
class Slip:
    """A variable that does nothing."""

    name: str
    meant: str
    """The setting it is most like; empty: none is."""

    def __str__(self) -> str:
        remedy = f"did you mean {self.meant}?" if self.meant else "see .env.example for those that there are"
        return f"{self.name[:80]!r} is no setting and does nothing; {remedy}"


def slips(environ: Mapping[str, str], *, settings: Collection[str], others: Iterable[str] = ()) -> list[Slip]:
    """In the order of their names. `others`: names that something else reads."""
    fine = {*settings, *others, *OTHERS}
    found = (_slip(name, settings) for name in sorted(environ) if name not in fine and not of_a_service(name, environ))
    return [slip for slip in found if slip is not None]


def is_link(name: str, value: str) -> bool:
    """Whether it says where a service is, in the way of Kubernetes and Docker, and was not meant as a setting."""
    return name.endswith(("_PORT", "_HOST")) and LINK.fullmatch(value.strip()) is not None


def of_a_service(name: str, environ: Mapping[str, str]) -> bool:
    if SERVICE.fullmatch(name) or is_link(name, environ.get(name, "")):
        return True
    linked = re.match(r"(.+?)_(NAME$|ENV_)", name)  # by Docker, beside the address
    return linked is not None and is_link(port := f"{linked[1]}_PORT", environ.get(port, ""))


def _slip(name: str, settings: Collection[str]) -> Slip | None:
    bare = _squashed(name)
    near = _nearest(bare.removeprefix("CONDUIT"), settings)
    return Slip(name, near) if near or name.upper().startswith(OURS) else None


def _nearest(bare: str, settings: Iterable[str]) -> str:
    found = ((distance, each) for each in settings if (distance := _slipped(bare, _squashed(each))) is not None)
    return min(found, default=(0, ""))[1]


def _slipped(bare: str, meant: str) -> int | None:
    """How many slips lie between the two; None: too many."""
    most = 2 if len(meant) >= TWO_SLIPS else 1 if len(meant) >= ONE_SLIP else 0
    if abs(len(bare) - len(meant)) > most or len(set(bare) ^ set(meant)) > 2 * most:
        return None
    distance = _distance(bare, meant)
    return distance if distance <= most else None


def _squashed(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _distance(a: str, b: str) -> int:
    """Letters missing, too many, wrong or swapped (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
