"""The documents tell the truth: what they name exists, and what exists is named."""

import ast
import re
from pathlib import Path

import pytest

from conduit.api.openapi import CODES
from conduit.api.routes import ROUTES
from conduit.cli import app
from conduit.core.config import Settings
from conduit.core.config_reference import env_lines, reference_rows
from conduit.observability.metrics.metrics import reference_rows as metric_rows
from conduit.providers.known import KNOWN_SERVERS

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()
HTTP_API = (ROOT / "docs/http-api.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("row", reference_rows())
def test_every_setting_is_in_the_reference_with_its_default(row: str) -> None:
    assert row in CONFIGURATION


@pytest.mark.parametrize("lines", env_lines())
def test_every_setting_is_in_the_example_with_its_default(lines: str) -> None:
    assert lines in ENV_EXAMPLE


@pytest.mark.parametrize("server", KNOWN_SERVERS, ids=lambda s: s.name)
def test_every_key_that_reveals_a_provider_is_documented(server) -> None:
    for variable in filter(None, (server.key, server.url)):
        assert f"`{variable}`" in CONFIGURATION
        assert f"# {variable}=" in ENV_EXAMPLE


def attributes_read(path: Path, of: str) -> set[str]:
    nodes = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute))
    return {n.attr for n in nodes if isinstance(n.value, ast.Name) and n.value.id == of}


def test_every_setting_is_read_by_something() -> None:
    entrances = [
        *(ROOT / "conduit/api").glob("*.py"),
        ROOT / "conduit/cli/__init__.py",
        *(ROOT / "conduit/assemble").glob("*.py"),
        ROOT / "conduit/declare.py",
    ]
    assert set(Settings.model_fields) <= set().union(*(attributes_read(path, "settings") for path in entrances))


@pytest.mark.parametrize("row", metric_rows())
def test_every_metric_is_in_the_reference(row: str) -> None:
    assert row in METRICS


def test_the_reference_names_no_metric_that_is_not_declared() -> None:
    assert len(re.findall(r"^\| `\w+` \| `[\w.]+` \|", METRICS, re.MULTILINE)) == len(metric_rows())


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.path)
def test_every_route_is_documented(route) -> None:
    for method in route.methods - {"HEAD"}:
        assert f"{method} {route.path.replace(':path', '')}" in HTTP_API


def test_every_error_code_is_documented() -> None:
    source = (ROOT / "conduit/api/envelope.py").read_text()
    codes = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', source)) & set(re.findall(r"`([a-z_]+)`", HTTP_API))
    assert {"invalid_request", "request_too_large", "no_eligible_model", "upstream_error", "upstream_timeout"} <= codes
    assert {"not_found", "method_not_allowed", "ledger_unavailable", "internal_error"} <= codes


@pytest.mark.parametrize("code", sorted({code for codes in CODES.values() for code in codes}))
def test_every_code_of_the_reference_of_routes_is_documented(code: str) -> None:
    assert f"`{code}`" in HTTP_API


def test_every_subcommand_is_in_the_docs() -> None:
    docs = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    named = [
        f"conduit {group.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        for command in group.typer_instance.registered_commands
    ]
    assert named
    assert [name for name in named if name not in docs] == []


def test_every_command_is_in_the_readme() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    names += [group.name for group in app.registered_groups]
    assert [name for name in names if f"conduit {name}" not in README] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
