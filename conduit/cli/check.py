"""`conduit check`: one line for each thing that a start needs, and the remedy where it is wrong."""

import asyncio
import sys
from collections.abc import Iterable
from textwrap import fill

from conduit.api.sources import read_environ, read_settings
from conduit.assemble.checkup import Finding, State, checkup
from conduit.routing.errors import ConfigurationError

WIDTH = 80
INDENT = " " * 18
"""Under what is said: a name of ten letters, and a state."""


def run() -> None:
    """Exits with 1 where something is wrong."""
    try:
        environ = read_environ()
        settings = read_settings(environ)
    except ConfigurationError as error:
        findings = [Finding("settings", State.WRONG, line) for line in str(error).splitlines()]
    else:
        findings = [Finding("settings", State.OK, "read"), *asyncio.run(checkup(settings, environ))]
    print("\n".join(described(findings)))  # noqa: T201
    if any(finding.state is State.WRONG for finding in findings):
        sys.exit(1)


def described(findings: Iterable[Finding]) -> list[str]:
    """Lines of at most 80 columns."""
    lines = []
    for each in findings:
        lines.append(_filled(f"{each.name:<10}  {each.state:<6}", each.said))
        if each.remedy:
            lines.append(_filled(INDENT, f"-> {each.remedy}"))
    return lines


def _filled(head: str, text: str) -> str:
    return fill(f"{head}{text}", WIDTH, subsequent_indent=INDENT, break_on_hyphens=False)
