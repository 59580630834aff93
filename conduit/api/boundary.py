"""Where errors end that nobody has answered: inside the layers that every answer must pass."""

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.api.envelope import INTERNAL_ERROR, Refused, problem_of, refuse
from conduit.core.request_state import state_of
from conduit.observability.logging.logs import place


class ErrorBoundary:
    """An error becomes an answer while there is none; after that the server must cut the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("conduit.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            raise
        except Exception as error:
            if state_of(scope).status:
                self._log.error("broke off", request_id=state_of(scope).id, error=type(error).__name__)
                raise
            await self._answer(error, scope, receive, send)

    async def _answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        problem = problem_of(error) if isinstance(error, Refused) else INTERNAL_ERROR
        if problem is INTERNAL_ERROR:  # the place, never the text: it may quote a prompt
            self._log.error("internal error", request_id=state_of(scope).id, where=place(error))
        await refuse(problem, scope, receive, send)
