"""`conduit check`: what is right, what is wrong and how to mend it, in 80 columns and without a secret."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from conduit.assemble.checkup import State, _refused
from conduit.core.errors import UpstreamError
from tests.support.gateway import FAKE_KEY, GatewayProcess, declared, environ
from tests.support.postgres import Postgres, postgres, postgres_url
from tests.support.upstream import FakeUpstream
from tests.support.valkey import redis_url, valkey

__all__ = ["postgres", "postgres_url", "redis_url", "valkey"]

SECRET = "canary-secret-4cc1"
OWN = "operators-own-key-canary-88"


def check(folder: Path, env: Mapping[str, str] | None = None, config: str = "") -> tuple[int, list[str], str]:
    """Exit code, lines, and all of it as one line of single blanks."""
    if config:
        (folder / "conduit.toml").write_text(config, "utf-8")
    command = [str(Path(sys.executable).with_name("conduit")), "check"]
    done = subprocess.run(
        command, cwd=folder, env=environ() | dict(env or {}), capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    for secret in (SECRET, OWN, FAKE_KEY):
        assert secret not in said
    return done.returncode, lines, " ".join(said.split())


def states(lines: list[str]) -> dict[str, str]:
    return {words[0]: words[1] for line in lines if not line.startswith(" ") and len(words := line.split()) > 1}


def test_a_newcomer_has_nothing_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    code, lines, said = check(tmp_path)
    assert code == 0
    assert states(lines) == {
        "settings": "ok",
        "sandbox": "look",
        "models": "ok",
        "prices": "ok",
        "database": "ok",
        "schema": "ok",
        "door": "look",
        "redis": "ok",
    }
    assert "-> set OPENAI_API_KEY" in said
    assert list(tmp_path.iterdir()) == []


def test_all_that_a_team_has_answers(tmp_path: Path, fake: FakeUpstream, postgres: Postgres, redis_url: str) -> None:
    """Before the first start, and after it."""
    config = declared(fake.base_url, {"cheap": 1.0}) + '[[models]]\nname = "free"\nprovider = "fake"\n'
    with postgres.database() as url:
        env = {"DATABASE_URL": url, "REDIS_URL": redis_url, "API_KEY": OWN, "ENVIRONMENT": "production"}
        code, lines, said = check(tmp_path, env, config)
        assert code == 0, said
        assert states(lines)["schema"] == "look"
        assert "none yet -> `conduit migrate` brings it" in said
        with GatewayProcess(tmp_path, config=config, env=env) as gateway:
            made = gateway.post("/v1/keys", {"name": "web"}, {"authorization": f"Bearer {OWN}"})
            assert made.status == 201
        code, lines, said = check(tmp_path, env)
        assert code == 0
    expected = dict.fromkeys(["settings", "fake", "models", "database", "schema", "door", "redis"], "ok")
    assert states(lines) == expected | {"prices": "look"}
    for words in ("fake ok answers, 2 models", "not known of free", "PostgreSQL answers", "to API_KEY and 1 key"):
        assert words in said, said


def test_all_that_can_be_away_is_named_with_its_remedy(tmp_path: Path, fake: FakeUpstream) -> None:
    env = {
        "DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:1/x",
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
        "OPENAI_API_KEY": SECRET,
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "JUDGE_MODEL": "nobody",
    }
    code, lines, said = check(tmp_path, env, declared(f"{fake.base_url}/elsewhere", {"cheap": 1.0}))
    assert code == 1
    found = states(lines)
    assert {n for n, state in found.items() if state == "wrong"} == {"openai", "models", "database", "redis"}, said
    for words in ("connection refused", "'nobody'", "start it, or mend DATABASE_URL", "start it, or mend REDIS_URL"):
        assert words in said, said
    assert "fake look answers, 1 model; does not list its models" in said


def test_a_key_that_is_not_taken_is_told_apart() -> None:
    refused = _refused("openai", UpstreamError("http 401", status=401), "2 models")
    assert (refused.state, refused.said) == (State.WRONG, "http 401: it does not take the key")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"API_PORT": SECRET, "API_RATE_LIMIT": "-1"}, ("settings wrong API_PORT", "settings wrong API_RATE_LIMIT")),
        ({"DATABASE_URL": f"mysql://me:{SECRET}@h/x"}, ("database wrong DATABASE_URL is of no kind",)),
        ({"ENVIRONMENT": "production"}, ("door wrong ENVIRONMENT=production: nobody could be let in",)),
        ({"POLICY": "guess"}, ("models wrong policy: 'guess' is not one of",)),
        ({"AZURE_OPENAI_API_KEY": SECRET}, ("providers wrong AZURE_OPENAI_ENDPOINT",)),
    ],
)
def test_what_is_mistaken_is_named(tmp_path: Path, env: dict[str, str], words: tuple[str, ...]) -> None:
    code, _, said = check(tmp_path, env)
    assert code == 1
    for each in words:
        assert each in said
