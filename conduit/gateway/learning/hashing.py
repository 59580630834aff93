"""The key under which a deployment hashes prompts."""

from collections.abc import Callable

from conduit.core.storage import Secrets
from conduit.routing.prompts import KEY_BYTES, Prompts

NAME = "prompts"


class Hashing:
    """`random` gives so many bytes that nobody can guess."""

    def __init__(self, prompts: Prompts, secrets: Secrets, *, random: Callable[[int], bytes]) -> None:
        self._prompts, self._secrets, self._random = prompts, secrets, random

    async def open(self) -> None:
        """From now on prompts are hashed alike in all processes, if they are to be. Raises LedgerUnavailable."""
        if self._prompts.mode == "hashed":
            self._prompts.hash_under(await self._secrets.shared(NAME, made=self._random(KEY_BYTES)))
