"""scripts/audit says nothing good where nothing was audited, whatever the tool that it asks does."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = re.findall(r"^(\S+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)


def said(*asked: str, skipped: str = "") -> str:
    looked_up = [{"name": name, "version": "1", "vulns": []} for name in asked]
    return json.dumps(
        {"dependencies": [*looked_up, *([{"name": skipped, "skip_reason": "no network"}] if skipped else [])]}
    )


@pytest.mark.parametrize(
    ("tool", "code", "told"),
    [
        (f"cat <<'X'\n{said(*NAMES)}\nX", 0, f"{len(NAMES)} packages, no known vulnerability"),
        (f"cat <<'X'\n{said(*NAMES[1:], skipped=NAMES[0])}\nX", 1, f"{len(NAMES) - 1} of {len(NAMES)} packages"),
        (f"cat <<'X'\n{said()}\nX", 1, f"0 of {len(NAMES)} packages"),
        ("echo 'No known vulnerabilities found' >&2", 1, ""),
        ("echo 'connection refused' >&2; exit 1", 1, "connection refused"),
        ("exec sleep 60", 1, "no answer within 0.2 s; nothing was audited"),
    ],
    ids=["all", "but one", "none", "nothing", "refused", "silence"],
)
def test_only_an_audit_of_all_packages_is_good(tmp_path: Path, tool: str, code: int, told: str) -> None:
    program = tmp_path / "bin/pip-audit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{tool}\n")
    program.chmod(0o755)
    limit = "0.2" if "sleep" in tool else "60"
    env = {**os.environ, "AUDIT_TOOLS": str(tmp_path), "AUDIT_S": limit}
    done = subprocess.run([ROOT / "scripts/audit"], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, told in done.stdout) == (code, True), done.stdout + done.stderr
    assert ("no known vulnerability" in done.stdout) == (code == 0)
