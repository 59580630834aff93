"""Settings: what is read, what is refused, and what the refusal says."""

from pathlib import Path

import pytest

from conduit.api.sources import read_environ, read_settings
from conduit.assemble import assemble
from conduit.core.config import Settings, covered, make_settings, parsed_list
from conduit.routing.errors import ConfigurationError
from conduit.routing.query import Preferences


def refused(file: dict[str, object] | None = None, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make_settings(file=file or {}, environ=environ)
    return str(caught.value)


def test_nothing_configured_is_a_configuration() -> None:
    assert make_settings(file={}, environ={}) == Settings()


def test_the_environment_wins_over_the_file_and_empty_is_unset() -> None:
    made = make_settings(file={"api_port": 1, "policy": "uniform"}, environ={"API_PORT": "2", "POLICY": ""})
    assert (made.api_port, made.policy) == (2, "uniform")


@pytest.mark.parametrize(
    ("file", "environ", "said"),
    [
        ({"api_prot": 1}, {}, "conduit.toml: api_prot: no such setting"),
        ({}, {"API_PORT": "eight"}, "API_PORT: "),
        ({}, {"API_PORT": "70000"}, "API_PORT: "),
        ({}, {"API_ALLOWED_HOSTS": "a.example.com, http://b.example.com"}, "API_ALLOWED_HOSTS: "),
        ({}, {"API_ALLOWED_HOSTS": "a.example.com:8000"}, "API_ALLOWED_HOSTS: "),
        ({}, {"API_MAX_BODIES_SIZE": "0"}, "API_MAX_BODIES_SIZE: "),
        ({}, {"PREFERENCES": "best"}, "balanced, quality, cost, speed"),
        ({}, {"PROMPT_TEXT": "some"}, "PROMPT_TEXT: Input should be 'off', 'hashed' or 'full'"),
        ({"prompt_text": True}, {}, "conduit.toml: prompt_text: Input should be 'off', 'hashed' or 'full'"),
        ({}, {"FEATURES_CACHE_SIZE": "-1"}, "FEATURES_CACHE_SIZE: "),
        ({}, {"UPSTREAM_TIMEOUT_S": "nan"}, "UPSTREAM_TIMEOUT_S: "),
        ({"providers": {"x": {"base_url": "ftp://x"}}}, {}, "conduit.toml: providers.x.base_url: "),
        ({"models": [{"name": "a", "provider": "x", "input_usd_per_mtok": -1}]}, {}, "models.0.input_usd_per_mtok"),
        ({"models": [{"name": "a", "provider": "x", "abilities": ["flies"]}]}, {}, "flies is not one of"),
        ({"models": [{"name": "a b\n", "provider": "x"}]}, {}, "models.0.name"),
    ],
)
def test_a_mistake_is_named_with_its_place(file: dict[str, object], environ: dict[str, str], said: str) -> None:
    assert said in refused(file, **environ)


def test_a_refusal_does_not_repeat_a_secret() -> None:
    assert "hunter2" not in refused({"database_url": ["postgresql://me:hunter2@host/db"]})
    assert "hunter2" not in repr(make_settings(file={}, environ={"DATABASE_URL": "postgresql://me:hunter2@h/db"}))


def test_files_are_read_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("API_PORT=1234\n")
    (tmp_path / "conduit.toml").write_text('policy = "uniform"\n')
    settings = read_settings(read_environ())
    assert (settings.api_port, settings.policy) == (1234, "uniform")
    (tmp_path / "conduit.toml").write_text("policy = \n")
    with pytest.raises(ConfigurationError, match=r"conduit\.toml"):
        read_settings({})
    with pytest.raises(ConfigurationError, match="CONDUIT_CONFIG"):
        read_settings({"CONDUIT_CONFIG": "absent.toml"})


def test_the_environment_is_one_of_a_few_in_any_case() -> None:
    """A slip of the pen must not open what production closes."""
    assert make_settings(file={}, environ={"ENVIRONMENT": "Production"}).environment == "production"
    assert "ENVIRONMENT" in refused(ENVIRONMENT="prodcution")


@pytest.mark.parametrize("prefixes", ["/v1/keys", "/metrics", "/v1/chat,/v1/complete", "/v10", "/v1/", "/v1/*"])
def test_what_is_named_beside_the_api_never_opens_it(prefixes: str) -> None:
    for required in ({}, {"ENVIRONMENT": "production"}, {"API_REQUIRE_AUTH": "true"}):
        made = make_settings(file={}, environ={"API_PROTECTED_PREFIXES": prefixes, **required})
        paths = covered(made.api_protected_prefixes)
        assert paths[0] == "/v1/"
        assert len(set(paths)) == len(paths)
        assert set(parsed_list(made.api_protected_prefixes)) <= set(paths)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("k", "shorter"),
        ("fifteen-letters", "shorter"),
        ("a" * 40, "repeats"),
        ("abab" * 10, "repeats"),
        ("passwordpassword", "repeats"),
        ("abcde" + "e" * 20, "repeats"),
        ("0123456789abcdef", ""),
        ("b3a1c9e07f5d2486", ""),
        ("operators-own-key", ""),
    ],
)
def test_production_wants_a_key_that_is_not_guessed(key: str, why: str) -> None:
    assert make_settings(file={}, environ={"API_KEY": key}).api_key.get_secret_value() == key
    if not why:
        assert make_settings(file={}, environ={"API_KEY": key, "ENVIRONMENT": "production"})
        return
    said = refused(API_KEY=key, ENVIRONMENT="production")
    assert said.startswith("API_KEY: ")
    assert why in said
    assert "openssl rand" in said
    assert len(key) < 2 or key not in said


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t\n"])
def test_blanks_at_the_ends_of_a_value_are_none_of_it(end: str) -> None:
    """As the values of mounted secrets have them."""
    environ = {"DATABASE_URL": "sqlite:///x.db", "API_KEY": "hunter2", "SANDBOX": "on", "API_REQUIRE_AUTH": "true"}
    environ |= {"API_PORT": "1", "CAP_USD_PER_DAY": "2.5", "REDIS_URL": "redis://h"}
    ended = {name: value + end for name, value in environ.items()}
    assert make_settings(file={}, environ=ended) == make_settings(file={}, environ=environ)
    assert make_settings(file={"api_key": f"hunter2{end}"}, environ={}).api_key.get_secret_value() == "hunter2"
    assert make_settings(file={}, environ={"CAP_USD_PER_DAY": end}).cap_usd_per_day is None


@pytest.mark.parametrize("prefixes", ["/v1/*", "/v1", "/", "/metrics, /v1/*"])
def test_a_prefix_may_be_written_with_an_asterisk(prefixes: str) -> None:
    environ = {"API_PROTECTED_PREFIXES": prefixes, "ENVIRONMENT": "production"}
    assert "*" not in make_settings(file={}, environ=environ).api_protected_prefixes
    for wrong in (",", "v1", "/v*/x"):
        assert "API_PROTECTED_PREFIXES" in refused(API_PROTECTED_PREFIXES=wrong)


def test_words_of_the_logs_are_known_in_any_case() -> None:
    settings = make_settings(file={}, environ={"LOG_LEVEL": "INFO", "LOG_FORMAT": "JSON"})
    assert (settings.log_level, settings.log_format) == ("info", "json")


def test_headers_of_a_collector_are_pairs_and_are_not_repeated() -> None:
    said = refused(OTEL_EXPORTER_OTLP_HEADERS="marked-secret")
    assert "OTEL_EXPORTER_OTLP_HEADERS" in said
    assert "marked-secret" not in said
    assert make_settings(file={}, environ={"OTEL_EXPORTER_OTLP_HEADERS": "a=b,c=d=e"})


@pytest.mark.parametrize("key", ["two words", "t\tab", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(key: str) -> None:
    said = refused(API_KEY=key)
    assert "API_KEY" in said
    assert key not in said


def test_a_key_is_not_shown() -> None:
    assert "hunter2" not in repr(make_settings(file={}, environ={"API_KEY": "hunter2"}))


def test_a_protected_prefix_is_a_path() -> None:
    assert "'v1/'" in refused(API_PROTECTED_PREFIXES="/metrics, v1/")
    assert parsed_list("/v1/, /metrics,") == ("/v1/", "/metrics")


PROVIDER = {"base_url": "http://127.0.0.1:1/v1"}
MODEL = {"name": "a", "provider": "lab"}


@pytest.mark.parametrize(
    ("file", "environ", "said"),
    [
        ({"sandbox": "off"}, {}, "no model is configured"),
        ({"policy": "best"}, {}, "policy: 'best' is not one of"),
        ({"baseline_model": "absent"}, {}, "BASELINE_MODEL"),
        ({"models": [MODEL]}, {}, "declare it, or set its key"),
        ({"providers": {"lab": PROVIDER}, "models": [MODEL, MODEL]}, {}, "declared twice"),
        ({"providers": {"lab": PROVIDER}, "models": [{**MODEL, "name": "auto"}]}, {}, "'auto' is taken"),
        ({"providers": {"lab": {**PROVIDER, "api_key_env": "LAB"}}, "models": [MODEL]}, {}, "LAB is not set"),
        ({"providers": {"lab": PROVIDER}, "models": [{**MODEL, "input_usd_per_mtok": 1}]}, {}, "or neither"),
        ({"database_url": "mysql://x"}, {}, "DATABASE_URL"),
    ],
)
async def test_what_cannot_be_assembled_says_why(file: dict[str, object], environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await assemble(make_settings(file=file, environ={}), environ)


async def test_a_key_has_preferences_a_budget_and_caps_of_its_own() -> None:
    weights = {"quality": 2.0, "latency": 1.0}
    keys = {"team": {"preferences": "cost", "cap_usd_per_day": 1.0}, "lab": {"preferences": weights}}
    conduit = await assemble(make_settings(file={"keys": keys, "sandbox": "on"}, environ={}), {})
    assert conduit.preferences_of("team") == Preferences.preset("cost")
    assert conduit.preferences_of("lab") == Preferences(2.0, 0.0, 1.0)
    assert conduit.preferences_of("") == conduit.preferences_of("other") == Preferences()
    assert conduit.spend_caps is not None
    assert [account.name for account in conduit.spend_caps.accounts("team")] == ["key:team"]
    assert not conduit.spend_caps.accounts("lab")


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"preferences": "best"}, "keys.team.preferences"),
        ({"budget_usd_per_day": 0}, "keys.team.budget_usd_per_day"),
        ({"cap_usd_per_day": -1}, "keys.team.cap_usd_per_day"),
        ({"cap": 1}, "keys.team.cap"),
    ],
)
def test_what_a_key_cannot_have_is_named(table: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make_settings(file={"keys": {"team": table}}, environ={})


async def test_declared_models_are_the_catalogue() -> None:
    file = {
        "providers": {"lab": {**PROVIDER, "api_key_env": "LAB"}},
        "models": [
            {**MODEL, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2, "abilities": ["json"]},
            {"name": "b", "provider": "lab", "upstream": "org/b"},
        ],
    }
    conduit = await assemble(make_settings(file=file, environ={}), {"LAB": "key"})
    a, b = conduit.router.catalogue
    assert (a.price.output_usd_per_mtok, a.abilities, b.price, b.upstream_name) == (2, {"json"}, None, "org/b")
    assert (conduit.stats.baseline, conduit.simulated) == ("a", False)
