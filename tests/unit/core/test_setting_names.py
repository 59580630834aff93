"""A name that nearly is a setting is told apart from one that belongs to somebody else."""

import pytest

from conduit.core.config import VARIABLES
from conduit.core.setting_names import OURS, is_link, slips

STRANGERS = """
PATH HOME LANG LC_ALL PWD SHLVL TERM USER HOSTNAME TZ TMPDIR VIRTUAL_ENV PYTHONPATH PYTHONUNBUFFERED _ PORT HOST
DEBUG HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy SSL_CERT_FILE PROMPT_COMMAND SESSION_MANAGER SESSION_SECRET
WEB_CONCURRENCY DATABASE_HOST DATABASE_USER DATABASE_PASSWORD DATABASE_NAME DATABASE_PORT DB_URL POSTGRES_PASSWORD
POSTGRES_URL PGHOST REDIS_HOST REDIS_PASSWORD REDIS_TLS_URL REDIS_DB LOG_FILE LOG_DIR LOGNAME METRICS_PORT APP_KEY
APP_PORT APP_HOST OTEL_SDK_DISABLED OTEL_RESOURCE_ATTRIBUTES OTEL_TRACES_SAMPLER OTEL_TRACES_EXPORTER
OTEL_METRICS_EXPORTER OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_TIMEOUT OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
OTEL_PROPAGATORS OTEL_EXPORTER_OTLP_METRICS_HEADERS OTEL_METRIC_EXPORT_TIMEOUT OTEL_BSP_SCHEDULE_DELAY
OTEL_SERVICE_VERSION OTEL_EXPORTER_OTLP_COMPRESSION OTEL_EXPORTER_OTLP_INSECURE OTEL_LOGS_EXPORTER OTEL_LOG_LEVEL
KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP_ADDR SPEED MODELS KEYS PROVIDERS
"""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CAP_USD_PERDAY", "CAP_USD_PER_DAY"),
        ("cap_usd_per_day", "CAP_USD_PER_DAY"),
        ("CAP-USD-PER-DAY", "CAP_USD_PER_DAY"),
        ("CONDUIT_CAP_USD_PER_DAY", "CAP_USD_PER_DAY"),
        ("CAPS_USD_PER_DAY", "CAP_USD_PER_DAY"),
        ("API_RATE_LIMT", "API_RATE_LIMIT"),
        ("API_RATELIMIT", "API_RATE_LIMIT"),
        ("API_KYE", "API_KEY"),
        ("DATABASE_ULR", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("ENVIROMENT", "ENVIRONMENT"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("PROMT_TEXT", "PROMPT_TEXT"),
        ("RATE_LIMIT_FAIL_CLOSE", "RATE_LIMIT_FAIL_CLOSED"),
        ("OTEL_ENABLE", "OTEL_ENABLED"),
        ("POLCY", "POLICY"),
        ("API_TOKEN", ""),
        ("BUDGET_DAILY", ""),
        ("JUDGE", None),
        ("CAP_EUR_PER_DAY", ""),
    ],
)
def test_a_slip_is_named_with_what_was_meant(name: str, meant: str | None) -> None:
    found = {slip.name: slip.meant for slip in slips({name: "marked-value"}, settings=VARIABLES)}
    if meant is None:
        assert not found
    elif meant:
        assert found == {name: meant}
    else:
        assert set(found) == {name}
    assert "marked-value" not in str(slips({name: "marked-value"}, settings=VARIABLES))


@pytest.mark.parametrize("name", [*STRANGERS.split(), *sorted(VARIABLES)])
def test_no_alarm_is_given_of_what_is_none(name: str) -> None:
    assert slips({name: "x"}, settings=VARIABLES) == []


@pytest.mark.parametrize("service", ["api", "cache", "redis", "judge", "sandbox", "api-gateway", "conduit", "database"])
def test_what_kubernetes_and_docker_say_of_a_service_is_no_slip(service: str) -> None:
    name = service.upper().replace("-", "_")
    environ = {
        f"{name}_SERVICE_HOST": "10.0.0.1",
        f"{name}_SERVICE_PORT": "8000",
        f"{name}_SERVICE_PORT_HTTP": "8000",
        f"{name}_PORT": "tcp://10.0.0.1:8000",
        f"{name}_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        f"{name}_PORT_8000_TCP_PROTO": "tcp",
        f"{name}_PORT_8000_TCP_PORT": "8000",
        f"{name}_PORT_8000_TCP_ADDR": "10.0.0.1",
        f"{name}_NAME": "/web/api",
        f"{name}_ENV_VERSION": "1",
    }
    assert slips(environ, settings=VARIABLES) == []


def test_a_link_is_known_by_its_value() -> None:
    assert is_link("API_PORT", "tcp://10.0.0.1:8000\n")
    assert is_link("API_PORT", "udp://[fd00::1]:53")
    for name, value in (("API_PORT", "8000"), ("API_PORT", "tcp://"), ("REDIS_URL", "tcp://10.0.0.1:6379")):
        assert not is_link(name, value)


def test_what_we_call_ours_is_ours() -> None:
    for prefix in OURS:
        assert prefix == "CONDUIT_" or any(name.startswith(prefix) for name in VARIABLES)
