"""Where settings come from: the environment, a `.env` file, conduit.toml."""

import os
import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from conduit.assemble.remarks import read_elsewhere
from conduit.core.config import VARIABLES, Settings, make_settings
from conduit.core.setting_names import slips
from conduit.routing.errors import ConfigurationError

FILE = "conduit.toml"
DOTENV = ".env"


def read_environ() -> dict[str, str]:
    """The environment, over a `.env` file in the working directory; without the line ends of mounted secrets. Raises
    ConfigurationError."""
    from_file = {name: value for name, value in dotenv_values(stream=StringIO(_dotenv())).items() if value is not None}
    return {name: value.strip() for name, value in (from_file | dict(os.environ)).items()}


def read_settings(environ: Mapping[str, str]) -> Settings:
    """From conduit.toml (or the file that CONDUIT_CONFIG names) and `environ`. Raises ConfigurationError, also for a
    `.env` with a name that is misspelt."""
    named = environ.get("CONDUIT_CONFIG", "")
    path = Path(named or FILE)
    if named and not path.exists():
        raise ConfigurationError(f"CONDUIT_CONFIG: there is no file {named}")
    settings = make_settings(file=_parsed(path) if path.exists() else {}, environ=environ)
    mistakes = list(_mistakes(settings))
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return settings


def _mistakes(settings: Settings) -> Iterator[str]:
    """One line for each name in `.env` that does nothing. It is this program's own file, so that it is an error there;
    the environment is everybody's, and is only warned of."""
    found = list(parse_stream(StringIO(_dotenv())))
    lines = {each.key: _line(each) for each in found if each.key}
    for slip in slips(dict.fromkeys(lines, ""), settings=VARIABLES, others=read_elsewhere(settings)):
        yield f"{DOTENV} line {lines[slip.name]}: {slip}"
    for each in found:
        said = re.match(r"\s*(?:export\s+)?(\w*)", each.original.string)
        name = each.key or (said[1] if said else "")
        if name in VARIABLES and each.value is None:
            yield f"{DOTENV} line {_line(each)}: {name} has no value: write {name}=..."


def _line(binding: Binding) -> int:
    """Empty lines before it are a part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _dotenv() -> str:
    path = Path(DOTENV)
    return _text(path) if path.exists() and not path.is_dir() else ""


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    """UTF-8, with or without the mark that editors put before it. Raises ConfigurationError."""
    try:
        raw = path.read_bytes()
        if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in raw:
            raise ConfigurationError(f"{path}: is UTF-16, or no text at all: save it as UTF-8")
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}: line {line} is not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
