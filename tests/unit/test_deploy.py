"""What deployment files name exists: settings, metrics, paths, documents."""

import json
import re
from pathlib import Path

import pytest

from conduit.api.routes import ROUTES
from conduit.core.config import Settings
from conduit.observability.metrics.metrics import reference_rows
from conduit.providers.known import KNOWN_SERVERS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
RULES = sorted((DEPLOY / "prometheus").glob("*.yml"))
KNOWN = {name.upper() for name in Settings.model_fields} | {
    variable for server in KNOWN_SERVERS for variable in (server.key, server.url) if variable
}
OF_OTHERS = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "GF_SECURITY_ADMIN_PASSWORD", "GRAFANA_PASSWORD"}


def metrics() -> set[str]:
    """As Prometheus calls them."""
    return {re.search(r"`([a-z_]+)`", row)[1] for row in reference_rows()}  # type: ignore[index]


def named_metrics(text: str) -> set[str]:
    found = set(re.findall(r"\b((?:conduit|gen_ai|http_server)_[a-z_]+)\b", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) if name not in metrics() else name for name in found}


LABELS = {"gen_ai_request_model", "gen_ai_token_type", "gen_ai_operation_name"}


@pytest.mark.parametrize("path", [*DASHBOARDS, *RULES], ids=lambda p: p.name)
def test_every_metric_that_is_looked_at_is_declared(path: Path) -> None:
    assert named_metrics(path.read_text()) - LABELS <= metrics()


@pytest.mark.parametrize(
    "path",
    [ROOT / "compose.yaml", *sorted((DEPLOY / "kubernetes").glob("*.yaml")), DEPLOY / "secret.example.yaml"],
    ids=str,
)
def test_every_variable_is_a_setting(path: Path) -> None:
    variables = set(re.findall(r"^\s+([A-Z][A-Z0-9_]+):", path.read_text(), re.MULTILINE))
    assert variables - OF_OTHERS <= KNOWN


def test_every_probe_is_a_route() -> None:
    paths = {route.path for route in ROUTES}
    files = [ROOT / "Dockerfile", DEPLOY / "kubernetes/deployment.yaml"]
    probed = {path for file in files for path in re.findall(r"/health/[a-z]+", file.read_text())}
    assert probed == {"/health/startup", "/health/ready", "/health/live"}
    assert probed <= paths


def test_every_alert_leads_to_a_place_in_the_runbook() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    places = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in runbook.split("\n")
        if line[:3] == "## "
    }
    linked = re.findall(
        r'runbook_url: "{{ \$externalLabels.runbook }}#(\S+)"', (DEPLOY / "prometheus/alerts.yml").read_text()
    )
    assert re.search(r"external_labels:\n    runbook: https://\S+", (DEPLOY / "prometheus/prometheus.yml").read_text())
    assert len(linked) == (DEPLOY / "prometheus/alerts.yml").read_text().count("- alert:")
    assert set(linked) <= places


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.name)
def test_a_dashboard_has_panels_that_ask_something(path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    assert panels
    assert all(target["expr"] for panel in panels for target in panel["targets"])


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
