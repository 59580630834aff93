"""Headers of a setting."""

import pytest

from conduit.core.headers import parsed_headers


def test_headers_are_read_as_opentelemetry_writes_them() -> None:
    """And a mistake is told without the secret."""
    assert parsed_headers("") == {}
    assert parsed_headers("a=b, X-Key = c%20d=e,") == {"a": "b", "x-key": "c d=e"}
    for wrong in ("hunter2", "=hunter2"):
        with pytest.raises(ValueError, match="name=value") as raised:
            parsed_headers(wrong)
        assert "hunter2" not in str(raised.value)
