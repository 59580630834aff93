"""How the tests of the wire ask, and what they look at afterwards."""

from typing import Any

from tests.support.gateway import GatewayProcess, Reply, until

CHAT = "/v1/chat/completions"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def ask(gateway: GatewayProcess, model: str = "auto", **more: object) -> Reply:
    return gateway.post(CHAT, {"model": model, "messages": HELLO, **more})


def outcome(gateway: GatewayProcess, decision: str) -> dict[str, Any]:
    """Once it is there: what became of a decision is written behind it."""
    found: dict[str, Any] = until(lambda: gateway.get(f"/v1/decisions/{decision}").json.get("outcome"))
    return found


def outcome_of(gateway: GatewayProcess, reply: Reply) -> dict[str, Any]:
    return outcome(gateway, reply.headers["x-conduit-decision"])


def tried(outcome: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(attempt["model"], attempt["error"]) for attempt in outcome["attempts"]]


def newest(gateway: GatewayProcess) -> dict[str, Any]:
    """The last decision, once its outcome is there."""

    def found() -> dict[str, Any]:
        records: list[dict[str, Any]] = gateway.get("/v1/decisions?limit=1").json["data"]
        return records[0] if records and records[0]["outcome"] else {}

    return until(found)
