"""What importing costs."""

import subprocess
import sys

HEAVY = ("numpy", "sqlalchemy", "starlette", "pydantic", "aiohttp", "alembic", "genai_prices")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_conduit_loads_nothing_heavy() -> None:
    assert not loaded_by("import conduit") & set(HEAVY)


def test_the_library_needs_numpy_and_no_server() -> None:
    assert loaded_by("from conduit import Router") & set(HEAVY) == {"numpy"}


def test_telemetry_that_is_off_loads_no_exporter() -> None:
    off = (
        "import asyncio; from conduit.api.app import create_app; from conduit.core.config import make_settings; "
        "telemetry = create_app(make_settings(file={}, environ={}), {}).state.telemetry; "
        "asyncio.run(telemetry.start()); asyncio.run(telemetry.stop())"
    )
    loaded = loaded_by(off)
    assert "conduit.observability.metrics.counting" in loaded
    assert not loaded & {"conduit.observability.tracing.exporter", "conduit.observability.tracing.otlp"}


def test_every_public_name_is_there() -> None:
    import conduit

    assert all(getattr(conduit, name) for name in conduit.__all__)
