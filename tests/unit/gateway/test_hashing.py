"""The key of prompts' hashes: one for all, and asked for only where it is needed."""

import pytest

from conduit.gateway.learning.hashing import Hashing
from conduit.routing.prompts import KEY_BYTES, NOTHING, Prompts, PromptText, hashed, keyed
from conduit.stores.sql.secrets import MemorySecrets


async def test_all_processes_hash_under_the_key_that_was_made_first() -> None:
    secrets, found = MemorySecrets(), []
    for process in range(3):
        prompts = Prompts("hashed")
        await Hashing(prompts, secrets, random=lambda n, process=process: bytes([process]) * n).open()
        found.append(prompts("What?").hash)
    assert found == [hashed("What?", keyed(bytes(KEY_BYTES)))] * 3


@pytest.mark.parametrize("mode", ["off", "full"])
async def test_without_hashes_no_secret_is_made(mode: PromptText) -> None:
    secrets, prompts = MemorySecrets(), Prompts(mode)
    await Hashing(prompts, secrets, random=bytes).open()
    assert secrets._kept == {}
    assert prompts("What?") == (NOTHING if mode == "off" else (None, "What?"))
