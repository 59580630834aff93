"""The shape of the code: what the linters do not see."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "conduit").rglob("*.py"))
BANNED = {"utils", "helpers", "common", "base", "manager", "service", "factory"}
MOCKS = ("MagicMock", "AsyncMock", "mock.patch")


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its length without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    return (function.end_lineno or 0) - function.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_short_says_why_it_exists_and_has_short_functions(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 400, "split it by its reasons to change"
    assert ast.get_docstring(tree) or not tree.body, "the first line says its one reason to exist"
    assert path.stem not in BANNED, "name the thing that it does"
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f"{f.name}: {code_lines(f)}" for f in functions if code_lines(f) > 60]


def test_programs_without_a_suffix_are_linted_and_typed_too() -> None:
    programs = [path for path in (ROOT / "scripts").iterdir() if "python" in path.read_text().partition("\n")[0]]
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    names = {str(path.relative_to(ROOT)) for path in programs}
    assert names
    assert set(tools["ruff"]["extend-include"]) == names
    assert {name for name in tools["mypy"]["files"] if name.startswith("scripts/")} == names


def test_our_own_code_is_not_mocked() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert not [path.name for path in tests if any(mock in path.read_text() for mock in MOCKS)]


def test_no_middleware_that_collects_bodies_and_no_slow_client() -> None:
    text = "".join(path.read_text() for path in FILES)
    assert "BaseHTTPMiddleware" not in text
    assert "import httpx" not in text
