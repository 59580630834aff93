"""The OpenAPI document names what exists: every route, every status and code of docs/http-api.md, and nothing else."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from conduit.api.openapi import CODES, document
from conduit.api.routes import ROUTES

HTTP_API = (Path(__file__).resolve().parents[3] / "docs/http-api.md").read_text()
DOCUMENT: dict[str, Any] = orjson.loads(orjson.dumps(document()))
OPERATIONS = {(method.upper(), path): said for path, item in DOCUMENT["paths"].items() for method, said in item.items()}


def declared(route: Any) -> str:
    """OpenAPI does not say that a part of a path may hold slashes."""
    path: str = route.path
    return path.replace(":path}", "}")


def documented() -> set[tuple[int, str]]:
    """(status, code) of the table of errors."""
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", HTTP_API, re.MULTILINE)
    return {(int(status), code) for code, statuses in rows for status in statuses.split(",")}


def refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(refs, node.values()))
    return set().union(*map(refs, node)) if isinstance(node, list) else set()


def test_the_operations_are_the_routes() -> None:
    assert set(OPERATIONS) == {(method, declared(route)) for route in ROUTES for method in route.methods - {"HEAD"}}


def test_the_codes_are_those_of_the_table_of_errors() -> None:
    assert {(status, code) for status, codes in CODES.items() for code in codes} == documented()


def test_every_documented_status_is_some_operations() -> None:
    """But 405, which is nobody's: it answers a method that is not here."""
    statuses = {int(status) for said in OPERATIONS.values() for status in said["responses"]}
    assert statuses == {status for status, _ in documented()} - {405} | {200, 201}


@pytest.mark.parametrize("name", sorted(refs(DOCUMENT)))
def test_references_lead_somewhere(name: str) -> None:
    node: Any = DOCUMENT
    for step in name.removeprefix("#/").split("/"):
        node = node[step]
    assert node


def test_every_schema_is_used_and_every_operation_has_a_name_of_its_own() -> None:
    names = {ref.rpartition("/")[2] for ref in refs(DOCUMENT)}
    assert set(DOCUMENT["components"]["schemas"]) <= names
    assert len({said["operationId"] for said in OPERATIONS.values()}) == len(OPERATIONS)


def test_links_lead_to_operations_with_what_these_take() -> None:
    named = {said["operationId"]: said for said in OPERATIONS.values()}
    links = [
        link for said in OPERATIONS.values() for r in said["responses"].values() for link in r.get("links", {}).values()
    ]
    assert len(links) == 6
    for link in links:
        taken = {each["name"] for each in named[link["operationId"]].get("parameters", [])}
        assert set(link.get("parameters", {})) <= taken
        assert ("requestBody" in link) <= ("requestBody" in named[link["operationId"]])


@pytest.mark.parametrize("route", [r for r in ROUTES if r.path.startswith("/v1/")], ids=lambda r: r.path)
def test_what_needs_a_scope_says_so(route: Any) -> None:
    for method in route.methods - {"HEAD"}:
        assert {"401", "403", "429"} <= set(OPERATIONS[method, declared(route)]["responses"])
        assert OPERATIONS[method, declared(route)]["security"][0] == {"key": []}
