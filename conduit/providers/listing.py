"""A server is asked which models it has."""

from http import HTTPStatus

from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from conduit.core.errors import UpstreamError
from conduit.providers.address import base_of, headers_of
from conduit.providers.bounded import read_at_most
from conduit.providers.failures import own_words, refusal
from conduit.providers.json_text import decode
from conduit.providers.listed import Listed, informed, listed
from conduit.providers.session import SharedSession
from conduit.providers.spec import ProviderSpec

TIMEOUT_S = 3.0
MAX_LIST_BYTES = 4 * 1024 * 1024
LIST, INFO = "models", "model/info"


async def list_models(spec: ProviderSpec) -> tuple[Listed, ...]:
    """Its chat models, in its own order, asked for as it is asked for answers: by the same way, with the same headers.

    Raises UpstreamError after at most TIMEOUT_S.
    """
    session = SharedSession(max_connections=2, network=spec.network)
    try:
        models = listed(decode(await _ask(session.open(), spec, LIST)))
        if models is None:
            raise UpstreamError("garbage")
        if models and all(model.says_nothing for model in models):
            models = await _with_info(session.open(), spec, models)
    finally:
        await session.close()
    return tuple(model for model in models if model.for_chat)


async def _with_info(session: ClientSession, spec: ProviderSpec, models: tuple[Listed, ...]) -> tuple[Listed, ...]:
    """LiteLLM tells no more than names in its list, and the rest at a place of its own, which others do not have."""
    try:
        info = informed(decode(await _ask(session, spec, INFO)))
    except UpstreamError:
        return models
    return tuple(model.with_more(info.get(model.upstream)) for model in models)


async def _ask(session: ClientSession, spec: ProviderSpec, path: str) -> bytes:
    base = base_of(spec.base_url, spec.query)
    url: URL = base.joinpath(path).with_query(base.query)
    headers = {n: v for n, v in headers_of(base, spec.api_key, spec.headers).items() if n != "content-type"}
    with own_words("connection reset"):
        async with session.get(
            url, headers=headers, allow_redirects=False, timeout=ClientTimeout(total=TIMEOUT_S)
        ) as response:
            if response.status == HTTPStatus.OK:
                return await read_at_most(response, MAX_LIST_BYTES)
    raise refusal(response.status, b"")
