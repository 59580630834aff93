"""A transaction pooler in front of the tests' PostgreSQL, as Supabase has one. Debian has it: no wheel does."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.support.gateway import free_port, until
from tests.support.postgres import answers, run_as, unprivileged

BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
WHOLE = BINARY is not None and os.environ.get("CONDUIT_TEST_POOLER") == "1"
"""Whether the whole contract of the ledger is to run through it: that takes as long as through all other stores."""
ABSENT = "NO POOLER WAS TESTED: pgbouncer is not installed (Debian: apt install pgbouncer)"
SETTINGS = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_reset_query_always = 1
logfile = {folder}/log
unix_socket_dir =
"""


@contextmanager
def pooler(url: str) -> Iterator[int]:
    """Its port. No server connection is a client's own for longer than a transaction, and what one leaves is wiped."""
    assert BINARY is not None, ABSENT
    folder, parts = Path(tempfile.mkdtemp(prefix="bouncer", dir="/tmp")), urlsplit(url)
    own, user = free_port(), unprivileged()
    settings = SETTINGS.format(host=parts.hostname, port=parts.port, user=parts.username, own=own, folder=folder)
    (folder / "settings.ini").write_text(settings)
    if user is not None:
        for path in (folder, folder / "settings.ini"):
            shutil.chown(path, user)
    command = [BINARY, str(folder / "settings.ini")]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **run_as(user)
    )
    try:
        until(
            lambda: answers(own), otherwise=lambda: f"pgbouncer did not start: {(folder / 'log').read_text()[-2000:]}"
        )
        yield own
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
