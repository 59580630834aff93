"""Headers, as a setting names them."""

from urllib.parse import unquote


def parsed_headers(said: str) -> dict[str, str]:
    """`k=v,k2=v2`, percent-encoded, as OpenTelemetry writes them. Raises ValueError, without the values: they are
    secrets."""
    found = {}
    for pair in filter(None, (part.strip() for part in said.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError("must be name=value, separated by commas")
        found[unquote(name.strip()).lower()] = unquote(value.strip())
    return found
