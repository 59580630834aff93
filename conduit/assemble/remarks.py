"""What lets a gateway start, and perhaps not as was meant: said at the start, and by `conduit check`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IRWXG, S_IRWXO

from conduit.core.config import VARIABLES, Settings, parsed_list
from conduit.core.errors import LedgerError
from conduit.core.keys import STRONG, THE_OPERATORS, KeyEntry, weakness
from conduit.core.setting_names import is_link, slips
from conduit.gateway.access.key_admin import KeyAdmin
from conduit.providers.known import known_variables
from conduit.routing.errors import ConfigurationError
from conduit.stores.sql.address import File, address


@dataclass(frozen=True, slots=True)
class Remark:
    """No value of a variable, no address and no secret."""

    name: str
    """Of the thing, as `conduit check` calls it."""
    said: str
    remedy: str


def remarks(settings: Settings, environ: Mapping[str, str]) -> list[Remark]:
    """Of what can be seen without asking anybody."""
    return [*_names(settings, environ), *_own_key(settings), *_database(settings)]


async def remarks_on_keys(settings: Settings, key_admin: KeyAdmin) -> list[Remark]:
    """The same of what conduit.toml says of keys. None while the database is away."""
    if not settings.keys and not settings.payload_log_keys:
        return []
    try:
        return on_keys(settings, await key_admin.list())
    except LedgerError:
        return []


def on_keys(settings: Settings, entries: Sequence[KeyEntry]) -> list[Remark]:
    names = {entry.key.name for entry in entries if entry.revoked_s is None} | {THE_OPERATORS.name}
    ids = {entry.key.id for entry in entries}
    asked = [(f"[keys.{name}]", name) for name in settings.keys]
    asked += [("PAYLOAD_LOG_KEYS", name) for name in parsed_list(settings.payload_log_keys) if name not in ids]
    return [_no_such_key(where, name, names) for where, name in asked if name not in names]


def nearly_its_table(settings: Settings, name: str) -> str:
    """The table of conduit.toml that was probably meant for the key of this name, and is not its own; empty: none."""
    if name in settings.keys:
        return ""
    return next((each for each in settings.keys if _alike(each) == _alike(name)), "")


def read_elsewhere(settings: Settings) -> set[str]:
    """Variables that are no settings, and are read all the same."""
    declared = (provider.api_key_env for provider in settings.providers.values())
    return {*known_variables(), *(name for name in declared if name)}


def _names(settings: Settings, environ: Mapping[str, str]) -> Iterator[Remark]:
    others = read_elsewhere(settings)
    for slip in slips(environ, settings=VARIABLES | known_variables(), others=others):
        yield Remark("settings", str(slip), "set the right one; take this one away from Conduit's environment")
    for name in sorted(VARIABLES & environ.keys()):
        if is_link(name, environ[name]):
            said = f"{name} is what Kubernetes or Docker sets for a service of that name, and is ignored"
            yield Remark("settings", said, "say enableServiceLinks: false in the pod, or --port")


def _own_key(settings: Settings) -> Iterator[Remark]:
    if why := weakness(settings.api_key.get_secret_value()):
        yield Remark("door", f"API_KEY {why}: it may be guessed", f"set {STRONG}")


def _database(settings: Settings) -> Iterator[Remark]:
    try:
        where = address(settings.database_url.get_secret_value())
    except ConfigurationError:  # whoever opens it will say so
        return
    if where.ignored:
        said = f"DATABASE_URL: {', '.join(where.ignored)} belongs to another driver, and is ignored"
        yield Remark("database", said, "nothing need be done; take it out to be rid of this line")
    if isinstance(where, File):
        open_to_others = [path.name for path in _beside(where.path) if _is_open(path)]
        if open_to_others:
            said = f"{', '.join(open_to_others)} can be read by other users of this machine"
            yield Remark("database", said, "chmod go= on each; Conduit makes them its own alone, and leaves old ones")


def _beside(path: Path) -> list[Path]:
    return [path, *(path.with_name(f"{path.name}{more}") for more in ("-wal", "-shm"))]


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (S_IRWXG | S_IRWXO))
    except OSError:
        return False


def _no_such_key(where: str, name: str, names: set[str]) -> Remark:
    like = next((each for each in sorted(names) if _alike(each) == _alike(name)), "")
    remedy = f"`conduit keys create {name}`"
    if not like:
        return Remark("keys", f"{where}: there is no key {name!r}, so that it does nothing", remedy)
    said = f"{where}: there is no key {name!r}, but {like!r}, to which it does not apply"
    return Remark("keys", said, f"write {like!r} there, or {remedy}")


def _alike(name: str) -> str:
    return re.sub(r"[-_.]", "", name).lower()
