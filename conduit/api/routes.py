"""The routes: each decodes, asks the gateway, and answers. Nothing here decides."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from conduit.api.body import (
    cache_of,
    chat_ask,
    json_object,
    model_of,
    parsed,
    request_id_of,
    sent_on,
    session_of,
    user_of,
    wants_stream,
)
from conduit.api.budget_view import budgets_view
from conduit.api.envelope import json_response
from conduit.api.key_routes import KEY_ROUTES
from conduit.api.once import AnswerStream, once
from conduit.api.openapi import openapi
from conduit.api.pages import RecordPage
from conduit.api.presence import while_present
from conduit.api.ratelimit import set_aside
from conduit.api.schema import CompleteIn, FeedbackIn, RouteIn
from conduit.api.scopes import caller_id, caller_name, needs, owner
from conduit.api.views import (
    cache_headers,
    complete_view,
    decision_headers,
    decision_view,
    feedback_view,
    is_capped,
    judge_view,
    model_view,
    models_view,
    outcome_headers,
    record_view,
    stats_view,
)
from conduit.assemble.conduit import Conduit
from conduit.core.keys import COMPLETE, FEEDBACK, READ
from conduit.core.request_state import state_of
from conduit.gateway.learning.named import found
from conduit.gateway.request.exchange import Ask
from conduit.gateway.request.meter import text_of
from conduit.gateway.stats.readiness import is_ready
from conduit.observability.setup import Telemetry
from conduit.routing.errors import InvalidRequest, NotFound
from conduit.routing.query import Query, estimate_tokens

MOST_PER_PAGE = 200


def _conduit(request: Request) -> Conduit:
    conduit: Conduit = request.app.state.conduit
    return conduit


# ------------------------------------------------------------------ asking


async def chat(request: Request) -> Response:
    conduit, state = _conduit(request), state_of(request.scope)
    data = await json_object(request)
    stream = wants_stream(data)
    ask = chat_ask(
        data,
        default=conduit.preferences_of(caller_name(request)),
        headers=sent_on(request),
        session_id=session_of(request),
        size=len(await request.body()),
        cache=cache_of(request),
        aliases=conduit.aliases,
        request_id=request_id_of(request),
        state=state,
    )
    await set_aside(request.scope, ask)
    if stream:
        return await _streamed(request, ask)
    done = await while_present(request, conduit.gateway.complete(ask))
    headers = outcome_headers(done, state)
    return Response(done.answer.body, headers=headers, media_type="application/json")


async def _streamed(request: Request, ask: Ask) -> Response:
    ask.state.promised = False  # half a stream is kept for nobody
    begun = await while_present(request, _conduit(request).gateway.stream(ask))
    headers = decision_headers(begun.decision, model=begun.model) | cache_headers(begun.look, ask.state)
    headers["cache-control"] = "no-cache"
    if begun.spooled:
        ask.state.degrade("spool")
    return AnswerStream(begun.frames, whole=begun.whole, headers=headers)


async def embeddings(request: Request) -> Response:
    data, size, state = await json_object(request), len(await request.body()), state_of(request.scope)
    query = Query(
        text="",
        input_tokens=estimate_tokens(size),
        key_id=caller_id(request),
        key_name=caller_name(request),
        user_id=user_of(data),
    )
    model = model_of(data, _conduit(request).aliases)
    ask = Ask(query, data, model, sent_on(request), size, answers=False, state=state)
    await set_aside(request.scope, ask)
    done = await while_present(request, _conduit(request).embeddings.embed(ask))
    headers = outcome_headers(done, state)
    return Response(done.answer.body, headers=headers, media_type="application/json")


async def complete(request: Request) -> Response:
    conduit, state = _conduit(request), state_of(request.scope)
    wanted = parsed(CompleteIn, await json_object(request))
    body: dict[str, Any] = {"messages": [{"role": "user", "content": wanted.prompt}]}
    needs: frozenset[str] = frozenset()
    if wanted.result_type == "json":
        body["response_format"] = {"type": "json_object"}
        needs = frozenset({"json"})
    cache = cache_of(request) if wanted.cache else "off"
    ask = Ask(_query(wanted, request, needs), body, headers=sent_on(request), cache=cache, state=state)
    await set_aside(request.scope, ask)
    done = await while_present(request, conduit.gateway.complete(ask))
    view = complete_view(done.decision, done.outcome, content=text_of(done.answer.data), query_id=state.id)
    return json_response(view, headers=outcome_headers(done, state))


async def route(request: Request) -> Response:
    conduit = _conduit(request)
    query = _query(parsed(RouteIn, await json_object(request)), request)
    decision = await conduit.gateway.decide(Ask(query, {}, state=state_of(request.scope)))
    return json_response(decision_view(decision), headers=decision_headers(decision, model=decision.model))


def _query(wanted: RouteIn, request: Request, needs: frozenset[str] = frozenset()) -> Query:
    session_id = session_of(request)
    return Query(
        text=wanted.prompt,
        requirements=wanted.required(needs),
        preferences=wanted.wanted(_conduit(request).preferences_of(caller_name(request))),
        key_id=caller_id(request),
        key_name=caller_name(request),
        user_id=wanted.user_id,
        session_id=wanted.session_id or session_id,
        request_id=request_id_of(request),
    )


# ------------------------------------------------------------------ telling


async def feedback(request: Request) -> Response:
    said = parsed(FeedbackIn, await json_object(request))
    conduit = _conduit(request)
    settled = await conduit.settler.settle(
        said.response_id, said.signals(), key_id=owner(request), caller_id=caller_id(request)
    )
    conduit.follower.wake()
    state = state_of(request.scope)
    state.rated = settled.decision_id
    if is_capped(settled):
        state.degrade("feedback")
    return json_response(feedback_view(settled))


# ------------------------------------------------------------------ looking


async def models(request: Request) -> Response:
    conduit = _conduit(request)
    return json_response(models_view(conduit.router.catalogue, conduit.started_s, conduit.aliases))


async def model(request: Request) -> Response:
    """Names may hold slashes."""
    conduit, name = _conduit(request), request.path_params["id"]
    if not name:
        raise HTTPException(404)
    found = model_view(conduit.router.catalogue, name, conduit.started_s, conduit.aliases)
    if found is None:
        raise NotFound("model", name, param="model")
    return json_response(found)


async def stats(request: Request) -> Response:
    conduit = _conduit(request)
    await conduit.follower.catch_up()  # so that the answer is a function of the ledger, whoever gives it
    stats, changes, key_id = conduit.stats, conduit.router.beliefs.changes, _whose(request)
    view = stats_view(
        await stats.totals(key_id=key_id),
        await stats.account(key_id=key_id),
        changes,
        known=conduit.router.catalogue,
        set_aside=conduit.router.beliefs.set_aside,
    )
    if owner(request) is not None:  # what others spend is their own affair
        return json_response(view)
    if conduit.judge is not None:
        view["judge"] = judge_view(conduit.judge, await conduit.judge.spent_today_usd())
    if conduit.spend_caps is not None and conduit.spend_caps.pacers is not None:
        view["budgets"] = budgets_view(await conduit.spend_caps.pacers.spent())
    return json_response(view)


def _whose(request: Request) -> str | None:
    """The id of the key whose figures are wanted: one's own, or for an admin anybody's, or None, everybody's. Raises
    NotFound."""
    own, wanted = owner(request), request.query_params.get("key")
    if wanted is not None and own not in {None, wanted}:
        raise NotFound("key", wanted, param="key")
    return own or wanted


async def decisions(request: Request) -> Response:
    limit = _limit(request.query_params.get("limit", "50"))
    before = request.query_params.get("before")
    page, key_id = RecordPage(limit, hashes=owner(request) is None), owner(request)
    while page.wants:
        page.add(await _conduit(request).ledger.recent(limit=page.wants, before=page.last or before, key_id=key_id))
    return Response(page.body, media_type="application/json")


async def decision(request: Request) -> Response:
    name, own = request.path_params["id"], owner(request)
    record = await found(_conduit(request).ledger, name, key_id=own, caller_id=caller_id(request))
    if record is None:
        raise NotFound("decision", name, param="id")
    return json_response(record_view(record, hashes=own is None))


def _limit(text: str) -> int:
    limit = int(text) if text.isdecimal() and len(text) <= 6 else 0
    if not 1 <= limit <= MOST_PER_PAGE:
        raise InvalidRequest(f"limit: must be a number from 1 to {MOST_PER_PAGE}", param="limit")
    return limit


# ------------------------------------------------------------------ health


async def live(request: Request) -> Response:
    return _health(request)


async def ready(request: Request) -> Response:
    """Can this process serve now?"""
    checks = await _conduit(request).readiness.checks()
    return _health(request, healthy=is_ready(checks), checks=checks)


async def startup(request: Request) -> Response:
    """Has it read its beliefs? It answers nothing at all before."""
    return _health(request)


async def metrics(request: Request) -> Response:
    """What Prometheus reads, of all workers."""
    telemetry: Telemetry = request.app.state.telemetry
    gauges = _conduit(request).gauges
    if gauges is not None:
        gauges.look()
    text, content_type = await telemetry.exposition(request.headers.get("accept", ""))
    return Response(text, headers={"content-type": content_type})


def _health(request: Request, *, healthy: bool = True, **more: object) -> Response:
    now_s = _conduit(request).clock.now_s()
    body = {"status": "healthy" if healthy else "unhealthy", "timestamp": now_s, **more}
    return json_response(body) if healthy else json_response(body, status=503, headers={"retry-after": "1"})


ROUTES = [
    Route("/v1/chat/completions", needs(COMPLETE, once(chat)), methods=["POST"]),
    Route("/v1/embeddings", needs(COMPLETE, embeddings), methods=["POST"]),
    Route("/v1/complete", needs(COMPLETE, once(complete)), methods=["POST"]),
    Route("/v1/route", needs(COMPLETE, route), methods=["POST"]),
    Route("/v1/feedback", needs(FEEDBACK, once(feedback)), methods=["POST"]),
    Route("/v1/models", needs(COMPLETE, models)),
    Route("/v1/models/{id:path}", needs(COMPLETE, model)),
    Route("/v1/stats", needs(READ, stats)),
    Route("/v1/decisions", needs(READ, decisions)),
    Route("/v1/decisions/{id}", needs(READ, decision)),
    Route("/health/live", live),
    Route("/health/ready", ready),
    Route("/health/startup", startup),
    Route("/metrics", metrics),
    Route("/openapi.json", openapi),
    *KEY_ROUTES,
]
