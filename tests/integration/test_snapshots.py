"""A gateway starts from its last snapshot, and does without one that is damaged."""

import sqlite3
from contextlib import closing
from itertools import islice
from pathlib import Path

from conduit.bench.prompts import prompts
from tests.integration.test_restart import ENV, settled_beliefs
from tests.support.gateway import GatewayProcess, until


def rate(gateway: GatewayProcess, n: int) -> None:
    for i, prompt in enumerate(islice(prompts(3), n)):
        answer = gateway.post("/v1/complete", {"prompt": prompt})
        said = {"response_id": answer.json["id"], "quality_score": i % 5 / 4}
        assert gateway.post("/v1/feedback", said).status == 200


def snapshots(folder: Path) -> list[tuple[int, bytes, str | None]]:
    with closing(sqlite3.connect(folder / "conduit.db")) as connection:
        return connection.execute("SELECT position, body, refused FROM snapshots ORDER BY number").fetchall()


def damage(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "conduit.db")) as connection:
        for number, body in connection.execute("SELECT number, body FROM snapshots").fetchall():
            middle = len(body) // 2
            broken = body[:middle] + bytes([body[middle] ^ 255]) + body[middle + 1 :]
            connection.execute("UPDATE snapshots SET body = ? WHERE number = ?", (broken, number))
        connection.commit()


def test_beliefs_come_from_the_snapshot_and_from_the_ledger_alike(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, env=ENV | {"SNAPSHOT_EVERY": "20"}) as gateway:
        rate(gateway, 30)
        until(lambda: len(snapshots(tmp_path)) > 1)
        believed = settled_beliefs(gateway)
        gateway.kill9()
        gateway.start()
        assert settled_beliefs(gateway) == believed
        assert "snapshot refused" not in gateway.said
        gateway.kill9()
        damage(tmp_path)
        kept = snapshots(tmp_path)
        gateway.start()
        assert settled_beliefs(gateway) == believed
        assert gateway.said.count("snapshot refused") == len(kept)
        after = snapshots(tmp_path)
        assert [body for _, body, why in after if why == "corrupt"] == [body for _, body, _ in kept]
        until(lambda: any(why is None for *_, why in snapshots(tmp_path)))
