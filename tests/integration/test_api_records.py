"""Every endpoint that tells or looks: feedback, statistics, the audit log, health, and what does not exist."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway import GatewayProcess, Reply, declared, problem
from tests.support.scripts import refuses, says
from tests.support.upstream import ANY_MODEL, FakeUpstream

PRICES = {"cheap": 1.0, "dear": 100.0}


@pytest.fixture(scope="module")
def gateway(fake_server: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = declared(fake_server.base_url, PRICES)
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config=config) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, model: str = "auto", **more: object) -> Reply:
    return gateway.post(
        "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    )


def say(gateway: GatewayProcess, name: str, **signals: object) -> dict[str, Any]:
    reply = gateway.post("/v1/feedback", {"response_id": name, **signals})
    assert reply.status == 200, reply.body
    said: dict[str, Any] = reply.json
    return said


# ------------------------------------------------------------------ feedback


@pytest.mark.parametrize("name", ["decision", "answer"])
def test_feedback_names_the_decision_or_the_answer(gateway: GatewayProcess, fake: FakeUpstream, name: str) -> None:
    """By x-conduit-decision, or by the provider's own id, which is all that an OpenAI client sees."""
    fake.plan(ANY_MODEL, says(extra={"id": f"chatcmpl-{name}"}))
    decision = ask(gateway).headers["x-conduit-decision"]
    said = say(gateway, decision if name == "decision" else "chatcmpl-answer", quality_score=0.75, comments="fine")
    assert (said["response_id"], said["quality"], said["revision"]) == (decision, 0.75, 1)
    assert said["id"].startswith("fb_")
    assert said["message"]
    kept = gateway.get(f"/v1/decisions/{decision}").json["feedback"]
    assert kept["id"] == said["id"]
    assert kept["signals"] == {"quality_score": 0.75, "comments": "fine"}


def test_feedback_on_a_stream_names_its_answer(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """As soon as [DONE] was read."""
    fake.plan(ANY_MODEL, says(extra={"id": "ignored: the first chunk's id counts"}))
    reply = ask(gateway, stream=True)
    assert reply.body.endswith(b"data: [DONE]\n\n")
    said = say(gateway, "chatcmpl-fake", thumbs="up")
    assert said["response_id"] == reply.headers["x-conduit-decision"]


def test_the_same_feedback_twice_is_one(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """The second answer is the first."""
    decision = ask(gateway).headers["x-conduit-decision"]
    before = gateway.get("/v1/stats").json["quality_metrics"]["rated"]
    first, second = (say(gateway, decision, quality_score=0.5) for _ in range(2))
    assert first == second
    assert gateway.get("/v1/stats").json["quality_metrics"]["rated"] == before + 1


def test_other_feedback_revises_the_first(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """And then stands in its place; going back is a third revision, not a repetition."""
    decision = ask(gateway).headers["x-conduit-decision"]
    said = [say(gateway, decision, quality_score=score) for score in (0.5, 0.9, 0.5)]
    assert [s["revision"] for s in said] == [1, 2, 3]
    assert gateway.get(f"/v1/decisions/{decision}").json["feedback"]["quality"] == 0.5


@pytest.mark.parametrize(
    ("signals", "quality"),
    [
        ({"user_rating": 4}, 0.75),
        ({"thumbs": "down"}, 0.0),
        ({"task_success": True}, 1.0),
        ({"met_expectations": False}, 0.0),
        ({"thumbs": "up", "user_rating": 1}, 0.7 / 1.7),
        ({"regenerated": True}, 0.0),
        ({"quality_score": 0.3, "thumbs": "up"}, 0.3),
    ],
)
def test_every_signal_comes_to_a_quality(
    gateway: GatewayProcess, fake: FakeUpstream, signals: dict[str, object], quality: float
) -> None:
    """A score says it itself; other signals are averaged by their weights."""
    decision = ask(gateway).headers["x-conduit-decision"]
    assert say(gateway, decision, **signals)["quality"] == pytest.approx(quality)


def test_feedback_on_nothing_known_is_404(gateway: GatewayProcess) -> None:
    """And says which field is wrong."""
    reply = gateway.post("/v1/feedback", {"response_id": "dec_nobody", "quality_score": 1})
    assert problem(reply, 404, "not_found")["error"]["param"] == "response_id"


def test_feedback_that_says_nothing_is_refused(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """A comment alone tells no quality."""
    decision = ask(gateway).headers["x-conduit-decision"]
    for body in ({"response_id": decision}, {"response_id": decision, "comments": "well"}):
        assert problem(gateway.post("/v1/feedback", body), 422, "invalid_request")["error"]["param"] == "quality_score"
    assert gateway.get(f"/v1/decisions/{decision}").json["feedback"] is None


# ------------------------------------------------------------------ statistics, audit log


def test_stats_are_what_was_sent(fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Answers, failures, dollars and ratings of a gateway of its own, to the last one."""
    folder = tmp_path_factory.mktemp("counted")
    with GatewayProcess(folder, config=declared(fake.base_url, PRICES)) as gateway:
        assert gateway.get("/v1/stats").json["total_queries"] == 0
        replies = [ask(gateway, model) for model in ["cheap"] * 3 + ["dear"] * 2 + ["auto"] * 4]
        fake.plan("cheap", refuses(500))
        assert ask(gateway, "cheap").status == 502
        for score, reply in zip((0.25, 0.75), replies, strict=False):
            say(gateway, reply.headers["x-conduit-decision"], quality_score=score)
        stats = gateway.get("/v1/stats").json
    asked = Counter(reply.headers["x-conduit-model"] for reply in replies)
    assert stats["total_queries"] == 10
    assert stats["model_distribution"] == dict(asked)
    assert stats["total_cost"] == pytest.approx(sum(3 * PRICES[name] / 1e6 * n for name, n in asked.items()))
    assert stats["quality_metrics"] == {"avg_quality": 0.5, "rated": 2, "success_rate": 0.9}
    assert stats["avg_latency"] > 0
    assert (stats["unpriced"], stats["savings"]["against"]) == (0, "dear")


def test_decisions_are_listed_newest_first_page_by_page(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Each once; the last page says that it is the last."""
    asked = [ask(gateway).headers["x-conduit-decision"] for _ in range(7)]
    listed: list[str] = []
    more, before = True, ""
    while more and len(listed) < 7:
        page = gateway.get(f"/v1/decisions?limit=3{before}").json
        assert page["object"] == "list"
        listed += [record["id"] for record in page["data"]]
        more, before = page["has_more"], f"&before={listed[-1]}"
    assert listed[:7] == asked[::-1]
    oldest = gateway.get("/v1/decisions?limit=200").json
    assert oldest["has_more"] is False
    assert gateway.get(f"/v1/decisions?before={oldest['data'][-1]['id']}").json["data"] == []
    one = gateway.get(f"/v1/decisions/{asked[0]}").json
    assert one in oldest["data"]


def test_a_decision_tells_everything(gateway: GatewayProcess, fake: FakeUpstream) -> None:
    """Who could have been chosen, who was and why, and what became of it."""
    decision = gateway.get(f"/v1/decisions/{ask(gateway).headers['x-conduit-decision']}").json
    shown = set(decision["candidates"][0])
    assert shown == {"model", "probability", "utility", "quality", "quality_sd", "cost_usd", "latency_s"}
    assert decision["routed"] is True
    assert decision["policy"] == "hierarchical"
    outcome = decision["outcome"]
    assert (outcome["status"], outcome["input_tokens"], outcome["output_tokens"]) == ("answered", 7, 3)
    assert (outcome["measured"], outcome["attempts"][0]["error"]) == (True, None)


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1e2", "", "9" * 5000])
def test_a_wrong_limit_is_refused(gateway: GatewayProcess, limit: str) -> None:
    """By name."""
    reply = gateway.get(f"/v1/decisions?limit={limit}")
    assert problem(reply, 422, "invalid_request")["error"]["param"] == "limit"


# ------------------------------------------------------------------ health, and what does not exist


@pytest.mark.parametrize("which", ["live", "ready", "startup"])
def test_health_is_plain(gateway: GatewayProcess, which: str) -> None:
    """200, healthy, and when."""
    reply = gateway.get(f"/health/{which}")
    assert (reply.status, reply.json["status"]) == (200, "healthy")
    assert reply.json.keys() - {"checks"} == {"status", "timestamp"}
    assert ("checks" in reply.json) == (which == "ready")
    assert reply.json["timestamp"] > 1.7e9


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/decisions/dec_nobody", "/health"])
def test_what_does_not_exist_is_404_in_the_envelope(gateway: GatewayProcess, path: str) -> None:
    """Whatever path it is."""
    problem(gateway.get(path), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/feedback"), ("POST", "/v1/stats"), ("DELETE", "/v1/models")])
def test_a_wrong_method_is_405_in_the_envelope(gateway: GatewayProcess, method: str, path: str) -> None:
    """And says which are right."""
    reply = gateway.send(method, path, None)
    problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"]
