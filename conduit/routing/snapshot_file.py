"""Beliefs as a file: a line that says what they are, and then the sums."""

from typing import Any

import orjson

from conduit.routing.snapshot import Recipe, Snapshot, Unfit

FORMAT = "conduit beliefs"


def to_file(snapshot: Snapshot) -> bytes:
    recipe = snapshot.recipe
    heading = {
        "format": FORMAT,
        "version": snapshot.version,
        "position": snapshot.position,
        "time_s": snapshot.time_s,
        "policy": recipe.policy,
        "features": recipe.features,
        "half_life_s": recipe.half_life_s,
        "checksum": snapshot.checksum.hex(),
    }
    return orjson.dumps(heading) + b"\n" + snapshot.body


def from_file(content: bytes) -> Snapshot:
    """The inverse; the sums are not looked at yet. Raises Unfit for what is no such file."""
    heading, found, body = content.partition(b"\n")
    try:
        said: dict[str, Any] = orjson.loads(heading)
        if said["format"] != FORMAT or not found:
            raise Unfit("corrupt")
        recipe = Recipe(str(said["policy"]), str(said["features"]), float(said["half_life_s"]))
        checksum = bytes.fromhex(said["checksum"])
        return Snapshot(int(said["position"]), float(said["time_s"]), int(said["version"]), recipe, body, checksum)
    except (KeyError, TypeError, ValueError):
        raise Unfit("corrupt") from None
