"""Settings as they come out of files, secrets, clusters and hands: what is meant is done, what does nothing is said."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, environ
from tests.support.postgres import Postgres, postgres

__all__ = ["postgres"]

CONDUIT = str(Path(sys.executable).with_name("conduit"))
VALUE = "marked-value-5b1e"
OWN = "operators-own-key-marked-77aa"
PORT_OF_API = {
    "API_PORT": "tcp://10.96.0.7:8000",
    "API_SERVICE_HOST": "10.96.0.7",
    "API_SERVICE_PORT": "8000",
    "API_SERVICE_PORT_HTTP": "8000",
    "API_PORT_8000_TCP": "tcp://10.96.0.7:8000",
    "API_PORT_8000_TCP_ADDR": "10.96.0.7",
    "API_PORT_8000_TCP_PORT": "8000",
    "API_PORT_8000_TCP_PROTO": "tcp",
}
"""What Kubernetes sets in every container beside a Service called api."""


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    text: str
    """On one line, of single blanks."""


def run(folder: Path, command: str, env: Mapping[str, str] | None = None) -> Said:
    argv = [CONDUIT, *command.split()]
    variables = environ() | dict(env or {})
    done = subprocess.run(argv, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert VALUE not in said
    return Said(done.returncode, " ".join(said.split()))


# ------------------------------------------------------------------ 31: names that nearly are settings

SLIPS = [
    ("CAP_USD_PERDAY", "CAP_USD_PER_DAY"),
    ("API_RATE_LIMT", "API_RATE_LIMIT"),
    ("cap_usd_per_month", "CAP_USD_PER_MONTH"),
    ("CONDUIT_API_KEY", "API_KEY"),
    ("BUDGET_USD_PERDAY", "BUDGET_USD_PER_DAY"),
    ("API_TOKENS_LIMIT", "API_TOKEN_LIMIT"),
    ("ENVIROMENT", "ENVIRONMENT"),
    ("DATABASE_ULR", "DATABASE_URL"),
    ("REDIS_URI", "REDIS_URL"),
    ("JUDGE_DOLLARS", ""),
    ("CAP_EUR_PER_DAY", ""),
    ("SPOOL_SIZE", ""),
    ("UPSTREAM_RETRIES", ""),
]
OTHERS = {
    "OTEL_RESOURCE_ATTRIBUTES": "a=b",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OPENAI_ORG_ID": "x",
    "DATABASE_PASSWORD": "x",
    "REDIS_PORT": "tcp://10.96.0.9:6379",
    "REDIS_PASSWORD": "x",
    "POSTGRES_PASSWORD": "x",
    "APP_PORT": "3000",
    "APP_KEY": "x",
    "SESSION_SECRET": "x",
    "LOG_FILE": "x",
    **{name: value for name, value in PORT_OF_API.items() if name != "API_PORT"},
}


def test_31_a_misspelt_name_in_the_file_is_an_error(tmp_path: Path) -> None:
    """All of them at once, each with its line and what it was to be."""
    lines = [f"{name}={VALUE}" for name, _ in SLIPS]
    (tmp_path / ".env").write_text("\n".join(["# mine", "SANDBOX=on", *lines]) + "\n", "utf-8")
    for command in ("check", "serve", "migrate", "keys list"):
        said = run(tmp_path, command)
        assert said.code == 1
        for number, (name, meant) in enumerate(SLIPS, 3):
            assert f".env line {number}: '{name}' is no setting" in said.text
            assert not meant or f"did you mean {meant}?" in said.text
    assert not (tmp_path / "conduit.db").exists()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        pytest.param("CAP_USD_PER_DAY", "CAP_USD_PER_DAY has no value", id="31 without a value"),
        pytest.param("CAP_USD_PER_DAY: 5", "CAP_USD_PER_DAY has no value", id="31 as YAML writes it"),
        pytest.param("export CAP_USD_PERDAY=5", "did you mean CAP_USD_PER_DAY?", id="31 exported"),
    ],
)
def test_a_line_that_sets_nothing_is_an_error(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / ".env").write_text(f"\n{line}\n", "utf-8")
    said = run(tmp_path, "check")
    assert said.code == 1
    assert ".env line 2: " in said.text
    assert named in said.text


def test_31_a_misspelt_name_in_the_environment_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, "check", {name: VALUE for name, _ in SLIPS})
    assert said.code == 0
    for name, meant in SLIPS:
        assert f"settings look '{name}' is no setting" in said.text
        assert not meant or f"did you mean {meant}?" in said.text


def test_31_control_names_of_others_are_left_alone(tmp_path: Path) -> None:
    config = '[providers.lab]\nbase_url = "http://127.0.0.1:1/v1"\napi_key_env = "API_LAB_KEY"\n'
    (tmp_path / "conduit.toml").write_text(config, "utf-8")
    (tmp_path / ".env").write_text(
        "\n".join(f"{n}={v}" for n, v in {**OTHERS, "API_LAB_KEY": "x", "OPENAI_BASE_URL": ""}.items()), "utf-8"
    )
    said = run(tmp_path, "check", OTHERS)
    assert "settings ok" in said.text
    assert "settings look" not in said.text
    assert "no setting" not in said.text


def test_31_the_start_says_so_too_and_38_the_key_stands_before_the_api(tmp_path: Path) -> None:
    """One process for what is to be seen of a start: 31 misspelt, 41 a weak key, 38 the door, 41 tables of keys."""
    env = {
        "CAP_USD_PERDAY": VALUE,
        "API_KEY": "short",
        "API_PROTECTED_PREFIXES": "/metrics",
        "LOG_FORMAT": "json",
        **{name: value for name, value in PORT_OF_API.items() if name != "API_PORT"},
    }
    config = "[keys.batch_jobs]\ncap_usd_per_day = 1.0\n[keys.nobodys]\ncap_usd_per_day = 1.0\n"
    (tmp_path / "conduit.toml").write_text(config, "utf-8")
    assert run(tmp_path, "keys create batch-jobs").code == 0
    with GatewayProcess(tmp_path, command="conduit serve", env=env) as gateway:
        said = gateway.said
        caller = {"authorization": "Bearer short"}
        open_to = {path: gateway.get(path).status for path in ("/v1/models", "/v1/stats", "/v1/keys", "/metrics")}
        known_to = {path: gateway.get(path, caller).status for path in open_to}
        chat = gateway.post("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
    assert open_to == dict.fromkeys(open_to, 401)
    assert known_to == dict.fromkeys(open_to, 200)
    assert chat.status == 401
    assert VALUE not in said
    for words in (
        "'CAP_USD_PERDAY' is no setting and does nothing; did you mean CAP_USD_PER_DAY?",
        "API_KEY is shorter than 16 characters",
        "[keys.batch_jobs]: there is no key 'batch_jobs', but 'batch-jobs'",
        "[keys.nobodys]: there is no key 'nobodys'",
    ):
        assert said.count(words) == 1, (words, said)
    assert "API_SERVICE" not in said


# ------------------------------------------------------------------ 38: what the door covers


@pytest.mark.parametrize(
    ("prefixes", "said"),
    [
        pytest.param("/metrics", "/v1/, /metrics", id="38 beside it"),
        pytest.param("/v1/chat", "/v1/, /v1/chat", id="38 a part of it"),
        pytest.param("/metrics,/docs", "/v1/, /metrics, /docs", id="38 two"),
        pytest.param("", "/v1/", id="38 none"),
    ],
)
def test_check_says_what_the_door_covers(tmp_path: Path, prefixes: str, said: str) -> None:
    found = run(tmp_path, "check", {"API_KEY": OWN, "API_PROTECTED_PREFIXES": prefixes})
    assert f"door ok opens to API_KEY, and stands before {said}" in found.text
    assert found.code == 0


@pytest.mark.parametrize(
    ("where", "env"),
    [
        pytest.param("production", {"ENVIRONMENT": "production", "API_KEY": OWN}, id="38 in production"),
        pytest.param("managed", {}, id="38 with a managed key"),
    ],
)
def test_a_key_stands_before_the_api_wherever_it_comes_from(tmp_path: Path, where: str, env: dict[str, str]) -> None:
    if where == "managed":
        assert run(tmp_path, "keys create web").code == 0
    with GatewayProcess(tmp_path, env={**env, "API_PROTECTED_PREFIXES": "/metrics"}) as gateway:
        for path in ("/v1/models", "/v1/decisions", "/metrics"):
            assert gateway.get(path).status == 401
        assert gateway.get("/health/live").status == 200


# ------------------------------------------------------------------ 41: keys that are guessed, tables of nobody


@pytest.mark.parametrize(
    ("key", "why"),
    [
        pytest.param("k", "shorter than 16", id="41 one letter"),
        pytest.param("hunter2", "shorter than 16", id="41 a word"),
        pytest.param("a" * 32, "repeats itself", id="41 one letter often"),
        pytest.param("secretsecretsecret", "repeats itself", id="41 a word often"),
    ],
)
def test_a_key_that_is_guessed_is_no_key_in_production(tmp_path: Path, key: str, why: str) -> None:
    for command in ("check", "serve"):
        said = run(tmp_path, command, {"ENVIRONMENT": "production", "API_KEY": key})
        assert said.code == 1
        assert f"API_KEY: {why}" in said.text.replace("API_KEY: is", "API_KEY:")
        assert "openssl rand -hex 32" in said.text
    said = run(tmp_path, "check", {"API_KEY": key})
    assert said.code == 0
    assert "door look API_KEY" in said.text
    assert why in said.text


@pytest.mark.parametrize(
    ("table", "key", "named"),
    [
        pytest.param("batch_jobs", "batch-jobs", "no key 'batch_jobs', but 'batch-jobs'", id="41 a hyphen"),
        pytest.param("Web", "web", "no key 'Web', but 'web'", id="41 a capital"),
        pytest.param('"a.b"', "a_b", "no key 'a.b', but 'a_b'", id="41 a dot"),
        pytest.param("gone", "web", "no key 'gone'", id="41 nobody"),
        pytest.param("web", "web", "", id="41 control: the right one"),
        pytest.param("api_key", "web", "", id="41 control: the operator's own"),
    ],
)
def test_a_table_of_a_key_that_is_none_is_told(tmp_path: Path, table: str, key: str, named: str) -> None:
    (tmp_path / "conduit.toml").write_text(f"[keys.{table}]\ncap_usd_per_day = 1.0\n", "utf-8")
    made = run(tmp_path, f"keys create {key}")
    assert made.code == 0
    assert ("which is not this key's" in made.text) is ("but" in named)
    said = run(tmp_path, "check")
    assert ("keys look" in said.text) is bool(named)
    assert named in said.text


# ------------------------------------------------------------------ 19: out of clusters, secrets and editors


@pytest.mark.parametrize(
    "port",
    [
        pytest.param("tcp://10.96.0.7:8000", id="19 of a service"),
        pytest.param("eight", id="19 of a slip"),
        pytest.param("", id="19 control: empty"),
    ],
)
def test_the_command_lines_port_wins_over_any(tmp_path: Path, port: str) -> None:
    with GatewayProcess(tmp_path, command="conduit serve", env={**PORT_OF_API, "API_PORT": port}) as gateway:
        assert gateway.get("/health/ready").status == 200


def test_19_a_service_called_api_is_no_port_and_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, "check", PORT_OF_API)
    assert said.code == 0
    assert "settings look API_PORT is what Kubernetes or Docker sets" in said.text
    assert said.text.count("settings look") == 1
    assert "10.96.0.7" not in said.text


@pytest.mark.parametrize("end", [pytest.param("\n", id="19 newline"), pytest.param(" \r\n", id="19 Windows")])
def test_a_secret_that_ends_in_a_newline_is_the_secret(tmp_path: Path, end: str) -> None:
    env = {
        "DATABASE_URL": f"sqlite:///named.db{end}",
        "API_KEY": f"{OWN}{end}",
        "SANDBOX": f"on{end}",
        "API_REQUIRE_AUTH": f"true{end}",
        "CACHE_ENABLED": f"true{end}",
        "REDIS_URL": end,
        "OPENAI_API_KEY": end,
    }
    with GatewayProcess(tmp_path, env=env) as gateway:
        assert gateway.get("/v1/models", {"authorization": f"Bearer {OWN}"}).status == 200
        assert gateway.get("/v1/models").status == 401
    found = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".db" or "named" in path.name)
    assert found == ["named.db"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("conduit.toml", b'\xef\xbb\xbfpolicy = "uniform"\n', "by uniform", id="19 TOML with a mark"),
        pytest.param("conduit.toml", b'\xef\xbb\xbfpolicy = "uniform"\r\n', "by uniform", id="19 TOML of Windows"),
        pytest.param(".env", b"\xef\xbb\xbfPOLICY=uniform\r\n", "by uniform", id="19 control: .env with a mark"),
        pytest.param(
            "conduit.toml", 'policy = "uniform"\n'.encode("utf-16"), "conduit.toml: is UTF-16", id="19 TOML in UTF-16"
        ),
        pytest.param(".env", "POLICY=uniform\n".encode("utf-16"), ".env: is UTF-16", id="19 .env in UTF-16"),
        pytest.param(
            ".env", "A=1\nPOLICY=üniform\n".encode("latin-1"), ".env: line 2 is not UTF-8", id="19 .env in Latin-1"
        ),
        pytest.param(
            "conduit.toml", b'# a\n# \xfc\npolicy = "x"\n', "conduit.toml: line 2 is not UTF-8", id="19 TOML in Latin-1"
        ),
    ],
)
def test_files_of_other_editors_are_read_or_refused_in_words(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    found = run(tmp_path, "check")
    assert said in found.text
    assert found.code == (0 if "uniform" in said else 1)


# ------------------------------------------------------------------ 19: parameters of DATABASE_URL


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as url:
        yield url


TAKEN = [
    pytest.param("pgbouncer=true&connection_limit=1", "pgbouncer, connection_limit", id="19 Supabase"),
    pytest.param("channel_binding=prefer&sslmode=prefer", "channel_binding", id="19 Neon"),
    pytest.param("gssencmode=disable", "gssencmode", id="19 libpq"),
    pytest.param("pool_size=20&max_overflow=0", "pool_size, max_overflow", id="19 SQLAlchemy"),
    pytest.param("schema=public&pool_timeout=10", "schema, pool_timeout", id="19 Prisma"),
    pytest.param("supa=base-pooler.x&workaround=y", "supa, workaround", id="19 Vercel"),
    pytest.param("keepalives=1&keepalives_idle=30&sslsni=1", "keepalives, keepalives_idle, sslsni", id="19 keepalives"),
    pytest.param("prepareThreshold=0", "prepareThreshold", id="19 Java"),
    pytest.param("ssl=false", "", id="19 Node"),
    pytest.param("application_name=conduit&statement_timeout=15000", "", id="19 control: the server's own"),
    pytest.param("options=-c%20statement_timeout%3D9s", "", id="19 control: options"),
]
REFUSED = [
    pytest.param("sslaccept=strict", "sslaccept", "sslmode=verify-full", id="19 PlanetScale"),
    pytest.param("sslmode=strict", "sslmode", "verify-full", id="19 a mode that is none"),
    pytest.param("poolsize=9", "poolsize", "take out", id="19 of nobody"),
    pytest.param("application_name=a&wibble=1", "wibble", "take out", id="19 one of two"),
    pytest.param("statement_timeout=soon", "statement_timeout", "another value", id="19 a value that is none"),
]


@pytest.mark.parametrize(("query", "ignored"), TAKEN)
def test_what_hosts_hand_out_works(tmp_path: Path, database: str, query: str, ignored: str) -> None:
    said = run(tmp_path, "check", {"DATABASE_URL": f"{database}?{query}"})
    assert "database ok PostgreSQL answers" in said.text
    assert said.code == 0
    assert (f"DATABASE_URL: {ignored} belongs to another driver" in said.text) is bool(ignored)


@pytest.mark.parametrize(("query", "named", "remedy"), REFUSED)
def test_a_parameter_that_cannot_be_kept_is_named(
    tmp_path: Path, database: str, query: str, named: str, remedy: str
) -> None:
    said = run(tmp_path, "check", {"DATABASE_URL": f"{database}?{query}"})
    assert said.code == 1
    (line,) = said.text.split("database wrong ")[1:]
    assert named in line
    assert remedy in line
    said = run(tmp_path, "serve --port 1", {"DATABASE_URL": f"{database}?{query}"})
    assert said.code != 0
    assert named in said.text
    assert remedy in said.text
