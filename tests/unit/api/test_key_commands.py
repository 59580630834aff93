"""`conduit keys` on a database of its own, without a gateway."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from conduit.cli import app
from conduit.cli.keys import described, seconds_of
from conduit.core.keys import SCOPES, Key, KeyEntry, Limits, Secret
from conduit.routing.errors import ConduitError, InvalidRequest
from tests.unit.api.door import entry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(autouse=True)
def _in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["keys", *words])


def test_a_key_is_made_turned_revoked_and_listed() -> None:
    secret = run("create", "web", "--concurrent", "2").stdout.strip()
    assert secret.startswith("cdt_")
    turned = run("rotate", "web", "--overlap", "90s")
    assert turned.stdout.strip() not in {"", secret}
    assert "until 20" in turned.stderr
    assert "2 at once" in run("list").stdout
    assert "revoked 20" in run("revoke", "web").stdout
    assert run("list").stdout.count("web\n") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["create", "api_key"], "name"),
        (["create", "x", "--scope", "root"], "'root'"),
        (["create", "x", "--expires", "soon"], "--expires"),
        (["create", "x", "--expires", "0s"], "expires_in_s"),
        (["rotate", "absent"], "'absent'"),
        (["rotate", "absent", "--overlap", "-1d"], "--overlap"),
        (["revoke", "absent"], "'absent'"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_made(words: list[str], named: str) -> None:
    done = run(*words)
    assert isinstance(done.exception, ConduitError)
    assert named in str(done.exception)
    assert done.stdout == ""


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2592000), ("0s", 0)])
def test_durations_are_numbers_with_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text, "--x") == seconds


@pytest.mark.parametrize("text", ["", "5", "d", "1.5h", "-1d", "1 d", "1w", "٣d", "9" * 10 + "d", "1d\n"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--x"):
        seconds_of(text, "--x")


def test_a_description_fits_80_columns_and_says_what_holds() -> None:
    long = Key("key_" + "f" * 32, "x" * 64, frozenset(SCOPES), 2e9, Limits(2**31 - 1, 2**31 - 1, 2**31 - 1))
    shown = described(KeyEntry(long, 0.0, None, (Secret(b"\xff" * 32, 1.9e9), Secret(b"\x01" * 32))), 1.8e9)
    assert max(map(len, shown.splitlines())) <= 80
    assert "good until 2033-05-18 03:33 UTC" in shown
    assert "ffffffffffff until 2030" in shown.replace("\n ", "")
    assert "01010101" not in shown
    assert "expired 1970" in described(entry(expires_s=1.0), 2.0)
    assert "until it is revoked" in described(entry(), 2.0)
