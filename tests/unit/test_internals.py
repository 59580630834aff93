"""What Conduit leans on in others and what they promise nobody: pinned below their next minor version, and looked at
here. A test that fails says what to read before the pin, and this file, may be changed."""

import inspect
import tomllib
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette._utils import get_route_path
from starlette.applications import Starlette
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

ROOT = Path(__file__).resolve().parents[2]
LEANT_ON: list[tuple[Any, str, str]] = [
    (HttpToolsProtocol, "18fdf324b11bf160", "conduit/api/head.py"),
    (RequestResponseCycle, "e67d470d435dcc1c", "conduit/api/head.py"),
    (uvicorn.Server.on_tick, "60ea49b06ccf68c1", "conduit/api/serve.py"),
    (uvicorn.Server.handle_exit, "553276efa26e09ea", "conduit/api/serve.py"),
    (uvicorn.Server.startup, "2aa1d70a244bfcf2", "conduit/api/serve.py"),
    (ProxyHeadersMiddleware, "70e1fec3e060a59b", "conduit/api/peer.py"),
    (get_route_path, "243011d2a68ca7fe", "conduit/api/paths.py"),
    (Starlette.build_middleware_stack, "aca3f8e780a2be62", "conduit/api/app.py, api/middleware.py"),
]


@pytest.mark.parametrize(("leant_on", "digest", "by"), LEANT_ON, ids=[each.__qualname__ for each, *_ in LEANT_ON])
def test_what_is_private_to_others_is_what_it_was(leant_on: Any, digest: str, by: str) -> None:
    found = sha256(inspect.getsource(leant_on).encode()).hexdigest()[:16]
    assert found == digest, (
        f"{leant_on.__qualname__} has changed: read it beside {by}, run their tests, then renew this"
    )


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_it_is_pinned_below_the_next_minor_version(package: str) -> None:
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (need,) = [each for each in needs if each.startswith(f"{package}>=")]
    major, minor, *_ = version(package).split(".")
    assert need == f"{package}>={major}.{minor},<{major}.{int(minor) + 1}"
