"""Settings: every knob, its default, its help. An entrance reads them; they are built here."""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator

from conduit.core.aliases import AliasTable
from conduit.core.config_errors import explained
from conduit.core.config_tables import STRICT, Dollars, Hosts, KeyTable, ModelTable, ProviderTable, known_preset
from conduit.core.headers import parsed_headers
from conduit.core.keys import STRONG, weakness
from conduit.core.networks import parsed_networks
from conduit.core.setting_names import is_link
from conduit.routing.errors import ConfigurationError
from conduit.routing.prompts import PromptText
from conduit.routing.query import PRESETS


class Settings(BaseModel):
    """What an operator can set. An environment variable is the field's name in capitals."""

    model_config = STRICT

    api_host: str = Field("0.0.0.0", description="Address that `conduit serve` listens on.")  # noqa: S104  a server in a container
    api_port: int = Field(8000, ge=0, le=65535, description="Port that `conduit serve` listens on.")
    api_drain_s: float = Field(
        0.0, ge=0, le=600, description="Seconds that `conduit serve` goes on, not ready, after it was told to end."
    )
    api_grace_s: int = Field(
        30, ge=1, le=3600, description="Seconds that requests and streams have to end in after that; then they are cut."
    )
    environment: Literal["development", "test", "staging", "production"] = Field(
        "development", description="production refuses to start without authentication."
    )
    api_key: SecretStr = Field(SecretStr(""), description="One bearer key with all scopes, beside the managed keys.")
    api_require_auth: bool = Field(False, description="Refuse to start when there is no usable key.")
    api_protected_prefixes: str = Field(
        "/v1/", description="Paths that want a key beside /v1/, separated by commas; never /health/."
    )
    api_key_grace_s: float = Field(
        300.0, ge=0, le=86400, description="Seconds that a key seen lately stays good while the database is away."
    )
    api_max_request_size: int = Field(
        10_000, gt=0, description="Bytes of body accepted by /v1/complete, /v1/route, /v1/feedback."
    )
    api_max_chat_size: int = Field(
        8_000_000, gt=0, description="Bytes of body accepted by /v1/chat/completions, /v1/embeddings."
    )
    api_max_bodies_size: int = Field(
        128_000_000,
        gt=0,
        description="Bytes of all bodies that a process holds at once; over it callers are told 503.",
    )
    api_body_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Seconds within which all of a request's body must have come."
    )
    api_failed_auth_limit: int = Field(
        20, ge=0, le=10_000, description="Wrong keys within a minute, after which an address must wait; 0 counts none."
    )
    api_rate_limit: int = Field(
        100, ge=0, le=2**31 - 1, description="Requests within a minute of one caller; 0 counts none."
    )
    api_token_limit: int = Field(
        0, ge=0, le=2**31 - 1, description="Tokens within a minute of one caller, in and out; 0 counts none."
    )
    api_token_hold: int = Field(
        1024,
        gt=0,
        le=10**9,
        description="Under a limit of tokens, what is set aside for an answer whose request names no `max_tokens`.",
    )
    api_concurrent_limit: int = Field(
        0, ge=0, le=2**31 - 1, description="Requests of one caller that may run at once; 0 counts none."
    )
    rate_limit_fail_closed: bool = Field(
        False, description="Answer 503 while limits cannot be counted in Redis, where else each process counts alone."
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and blocks, separated by commas, whose X-Forwarded-For and -Proto are believed.",
    )
    cors_allowed_origins: str = Field(
        "", description="Origins, separated by commas, whose pages may call from a browser; * is any."
    )
    api_allowed_hosts: Hosts = Field(
        "",
        description="While no key is asked for: names under which the gateway is reached, separated by commas, besides "
        "addresses, names without a dot and private ones; `*.example.com` is all below it, * any.",
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="Where replicas count limits together: `redis://host:6379/0`; empty: each alone."
    )
    redis_patience_s: float = Field(
        0.05, gt=0, le=10, description="Seconds that a request waits for Redis before it goes on without."
    )
    cache_enabled: bool = Field(
        False, description="Answer a request that came before, letter by letter and under the same key, from a cache."
    )
    redis_cache_ttl: float = Field(
        86400.0, ge=1, le=2_592_000, description="Seconds for which the cache keeps an answer, in Redis or without."
    )
    cache_max_temperature: float = Field(
        0.0, ge=0, le=2, description="Of requests that are cached; one that names no temperature has 1."
    )
    cache_max_size: int = Field(1_000_000, ge=0, le=100_000_000, description="Bytes of an answer that is cached.")
    cache_memory: int = Field(
        64_000_000, ge=0, le=10**12, description="Bytes of all cached answers of a process, without Redis."
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite:///conduit.db"),
        description="The ledger: `sqlite:///path` or `postgresql://user:password@host/name`.",
    )
    database_migrate: bool = Field(
        True, description="Bring an older schema up to date at the start; false: refuse, and name `conduit migrate`."
    )
    spool_path: str = Field(
        "",
        description="Where decisions wait while the database is away; empty: `conduit-spool` beside its file, or here.",
    )
    spool_max_bytes: int = Field(
        256 * 2**20, ge=0, description="The most that each worker keeps there; 0: nothing waits, and is lost instead."
    )
    spool_after_s: float = Field(
        2.0, gt=0, le=15, description="Seconds that an answer waits for the database before its decision goes there."
    )
    policy: str = Field(
        "hierarchical", description="Who chooses: hierarchical, or another name of `conduit replay --help`."
    )
    preferences: str = Field("balanced", description=f"Preset for requests that name none: {', '.join(PRESETS)}.")
    seed: int | None = Field(None, ge=0, description="Fixes every draw; empty draws afresh at each start.")
    half_life_days: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="Days after which an observation counts half; 0 forgets nothing.",
    )
    features_cache_size: int = Field(
        4096,
        ge=0,
        le=10_000_000,
        description="Prompts whose features each worker has at hand, some 1 kB each; 0: each is looked at anew.",
    )
    snapshot_every: int = Field(
        5000,
        ge=0,
        description="Observations between snapshots of beliefs, which shorten the next start; 0 writes none.",
    )
    baseline_model: str | None = Field(
        None, description="Savings are counted against always asking this model; empty is the dearest."
    )
    idempotency_ttl_s: float = Field(
        86400.0, ge=60, le=2_592_000, description="Seconds for which an answer is kept under its Idempotency-Key."
    )
    idempotency_max_size: int = Field(
        1_000_000, ge=0, le=100_000_000, description="Bytes of such an answer; of a larger one only that there was one."
    )
    stats_interval_s: float = Field(60.0, ge=0, le=86400, description="Seconds for which /v1/stats keeps savings.")
    upstream_timeout_s: float = Field(
        600.0, gt=0, le=86400, description="Seconds that one call of a model may take in all, streams too."
    )
    upstream_connect_s: float = Field(10.0, gt=0, le=600, description="Seconds to connect to a provider.")
    upstream_first_content_s: float = Field(
        120.0, gt=0, le=86400, description="Seconds to the first content of a stream; comments and roles are none."
    )
    upstream_idle_s: float = Field(
        60.0, gt=0, le=86400, description="Seconds between two pieces of a stream that has begun."
    )
    upstream_deadline_s: float = Field(
        600.0,
        gt=0,
        le=86400,
        description="Seconds of a request after which no other model is asked in place of one that timed out.",
    )
    upstream_keep_alive_s: float = Field(
        4.0, ge=0, le=3600, description="Seconds that a connection to a provider is kept unused; 0 keeps none."
    )
    upstream_attempts: int = Field(3, ge=1, le=20, description="How many models are asked before a request fails.")
    models_refresh_s: float = Field(300.0, ge=0, description="Seconds between a server's lists of models; 0: one.")
    judge_model: str | None = Field(None, description="The model that scores answers in the background; empty is none.")
    judge_share: float = Field(0.1, ge=0, le=1, description="The share of answers that the judge scores.")
    judge_budget_usd_per_day: Dollars = Field(
        1.0, description="US dollars that the judge may spend on a day (UTC), over all workers."
    )
    budget_usd_per_request: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars that a request may cost in the mean; empty is no budget.",
    )
    budget_usd_per_day: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars that a day (UTC) is to cost, by pacing; refuses nothing.",
    )
    budget_usd_per_month: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="The same of a month (UTC)."
    )
    cap_usd_per_day: Dollars | None = Field(
        None, description="US dollars that all requests of a day (UTC) may cost, worst cases included; empty is no cap."
    )
    cap_usd_per_month: Dollars | None = Field(None, description="The same of a month (UTC).")
    cap_output_tokens: int = Field(
        4096, gt=0, le=10**9, description="Under a cap, the limit that a request gets which names no `max_tokens`."
    )
    cap_hold_s: float = Field(
        60.0, ge=1, le=3600, description="Seconds after which what a process that died had set aside is free again."
    )
    follow_interval_s: float = Field(
        0.25, gt=0, le=60, description="Seconds between looks for what other workers have written."
    )
    feedback_weight_per_hour: float = Field(
        1000.0,
        gt=0,
        allow_inf_nan=False,
        description="The most that one key teaches of one model within an hour; a score weighs 1.",
    )
    retry_detection: bool = Field(
        False, description="Whether a request much like the session's last one counts lightly against its answer."
    )
    session_stickiness: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Quality that a switch of model within a session must gain; 0 looks at no session.",
    )
    sandbox: Literal["auto", "on", "off"] = Field(
        "auto", description="Simulated models: auto offers them when no real model is configured."
    )
    sandbox_time_scale: float = Field(
        0.1, ge=0, le=10, description="Real seconds per simulated second of the sandbox; 0 answers at once."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto is console on a terminal, else JSON."
    )
    prompt_text: PromptText = Field(
        "hashed",
        description="What the ledger keeps of a prompt beside its features: `off`, `hashed` (under a key of its own), "
        "or `full`, redacted.",
    )
    payload_log_folder: str = Field(
        "", description="Where prompts and answers are kept, redacted, a file a day; empty keeps none."
    )
    payload_log_share: float = Field(1.0, ge=0, le=1, description="The share of requests of which they are kept.")
    payload_log_keys: str = Field(
        "", description="Only those of these keys (ids or names, separated by commas); empty is everybody."
    )
    payload_log_max_size: int = Field(
        20_000, gt=0, le=1_000_000, description="Characters that are kept of a prompt, and of an answer."
    )
    payload_log_days: int = Field(7, ge=1, le=3650, description="Days after which their files are removed.")
    payload_log_redact: str = Field(
        "", description="A regular expression of more that is to be taken out of them, beside emails, keys and cards."
    )
    otel_enabled: bool = Field(False, description="Send traces and metrics to an OpenTelemetry collector.")
    otel_service_name: str = Field("conduit-router", min_length=1, description="What this gateway is called there.")
    otel_exporter_otlp_endpoint: str = Field(
        "http://localhost:4318",
        pattern=r"^https?://\S+$",
        description="OTLP over HTTP/protobuf; /v1/traces and /v1/metrics are appended.",
    )
    otel_exporter_otlp_headers: SecretStr = Field(
        SecretStr(""), description="Sent with every export: `name=value,name2=value2`, percent-encoded."
    )
    otel_traces_enabled: bool = Field(True, description="Whether traces are among what is sent.")
    otel_metrics_enabled: bool = Field(True, description="Whether metrics are.")
    otel_traces_sampler_arg: float = Field(
        1.0, ge=0, le=1, description="The share of traces that is sampled; whoever sends a traceparent decides instead."
    )
    otel_metric_export_interval: int = Field(
        60_000, ge=100, le=3_600_000, description="Milliseconds between exports of metrics."
    )
    metrics_folder: str = Field(
        "", description="Where workers count together for /metrics; empty is a folder of their own in shared memory."
    )
    providers: dict[str, ProviderTable] = Field({}, description="Servers with OpenAI's API (only in conduit.toml).")
    models: list[ModelTable] = Field([], description="The catalogue (only in conduit.toml).")
    keys: dict[str, KeyTable] = Field({}, description="What each key may spend, by name (only in conduit.toml).")
    aliases: AliasTable = Field({}, description="Other names for `auto` or a model (only in conduit.toml).")

    @field_validator("preferences")
    @classmethod
    def _preset(cls, name: str) -> str:
        return known_preset(name)

    @field_validator("environment", "log_level", "log_format", mode="before")
    @classmethod
    def _in_any_case(cls, name: object) -> object:
        return name.lower() if isinstance(name, str) else name

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr) -> SecretStr:
        if re.fullmatch(r"[!-~]*", key.get_secret_value()) is None:
            raise ValueError("must be printable ASCII without blanks, for it is sent in a header")
        return key

    @field_validator("payload_log_redact")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            found = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if pattern and found.search("") is not None:
            raise ValueError("matches nothing at all everywhere; it must match some text")
        return pattern

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        parsed_networks(networks)
        return networks

    @field_validator("cors_allowed_origins")
    @classmethod
    def _are_origins(cls, origins: str) -> str:
        for origin in parsed_list(origins):
            if origin != "*" and re.fullmatch(r"https?://[^/\s]+", origin) is None:
                raise ValueError(f"{origin!r} is no origin: write https://host, without a path")
        return origins

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr) -> SecretStr:
        if re.match(r"^$|(redis|rediss|unix)://", url.get_secret_value()) is None:
            raise ValueError("must be of the form redis://host:6379/0 or rediss://user:password@host:6379/0")
        return url

    @field_validator("api_protected_prefixes")
    @classmethod
    def _are_paths(cls, prefixes: str) -> str:
        """With or without an asterisk at the end: the same."""
        paths = [prefix.rstrip("*") for prefix in parsed_list(prefixes)]
        for path in paths:
            if not path.startswith("/") or "*" in path:
                raise ValueError(f"{path!r} is no path: it must begin with /, and names all that is below it")
        if not paths:
            raise ValueError("names no path; without a key nobody is asked for one")
        return ",".join(paths)

    @field_validator("otel_exporter_otlp_headers")
    @classmethod
    def _are_pairs(cls, headers: SecretStr) -> SecretStr:
        parsed_headers(headers.get_secret_value())
        return headers

    @model_validator(mode="after")
    def _has_a_good_key(self) -> Self:
        if self.environment == "production" and (why := weakness(self.api_key.get_secret_value())):
            raise ValueError(f"API_KEY: {why}, and ENVIRONMENT=production wants one that nobody guesses: {STRONG}")
        return self


def parsed_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def covered(prefixes: str) -> tuple[str, ...]:
    """The paths that want a key, once there is one: API's always."""
    return tuple(dict.fromkeys((API, *parsed_list(prefixes))))


API = "/v1/"
TABLES = frozenset({"providers", "models", "keys", "aliases"})


VARIABLES = frozenset(name.upper() for name in Settings.model_fields if name not in TABLES)
"""Environment variables that are settings."""


def make_settings(*, file: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Settings from a parsed conduit.toml and environment variables, which win; empty variables count as unset, and so
    does what Kubernetes and Docker say of a service whose name is a part of a setting's.

    Raises ConfigurationError that names the setting, where it stands, and what it takes.
    """
    from_environ = {
        name: value
        for name in Settings.model_fields
        if name not in TABLES and (value := environ.get(name.upper(), "").strip()) and not is_link(name.upper(), value)
    }
    try:
        return Settings.model_validate({**file, **from_environ})
    except ValidationError as error:
        raise ConfigurationError(explained(error, from_environ)) from None
