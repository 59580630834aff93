"""The dashboard without a browser: it is served, confined to itself, and asks only for what there is."""

import re
from importlib.resources import files
from pathlib import Path

from conduit.api.middleware import PATHS
from conduit.dashboard.pages import PAGES, POLICY
from tests.unit.api.inprocess import running

SERVED = {page.path for page in PAGES} - {"/dashboard/"}
PARTS = {name: files("conduit.dashboard").joinpath(name).read_text() for name in ("index.html", "dashboard.js")}


async def test_each_part_is_served_without_a_key_under_a_policy_that_lets_nothing_else_in(tmp_path: Path) -> None:
    async with running(tmp_path, API_KEY="a-key") as app:
        for path in SERVED:
            answer = await app.get(path)
            assert answer.status == 200
            assert answer["content-security-policy"] == POLICY
            assert answer["content-type"].startswith("text/")
        assert (await app.get("/v1/stats")).status == 401
        beside = await app.get("/dashboard/")
        assert (beside.status, beside["location"]) == (307, "../dashboard")  # of no host that the caller names
        assert (await app.get("/v1/stats/")).status == 401
        assert (await app.get("/health/live/")).status == 404
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")


def test_it_names_no_other_place_and_nothing_inline() -> None:
    for text in PARTS.values():
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}  # the name of SVG
    assert re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", PARTS["index.html"]) is None
    assert "innerHTML" not in PARTS["dashboard.js"]
    assert "localStorage" not in PARTS["dashboard.js"]


def test_every_part_and_every_endpoint_that_it_asks_for_exists() -> None:
    asked = {"/" + path for path in re.findall(r"get\([`\"]([\w/]+)", PARTS["dashboard.js"])}
    assert asked == {"/v1/decisions", "/v1/stats", "/health/ready"}
    assert asked <= PATHS
    linked = {"/" + path for path in re.findall(r"(?:src|href)=\"([^\"]+)\"", PARTS["index.html"])}
    assert linked == SERVED - {"/dashboard"}


def test_every_element_that_it_fills_is_on_the_page() -> None:
    named = set(re.findall(r"\b(?:at|put)\(\"([\w-]+)\"", PARTS["dashboard.js"]))
    assert named <= set(re.findall(r"id=\"([\w-]+)\"", PARTS["index.html"]))
    assert len(named) > 8
