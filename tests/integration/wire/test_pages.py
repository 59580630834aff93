"""How much is kept of what anybody says, and how much of it one page of the audit log may be."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.wire.asking import outcome_of
from tests.integration.wire.ledgers import ENV, database, gateway, rows, teach
from tests.support.gateway import GatewayProcess, declared
from tests.support.stub_provider import Asked, StubProvider, completion

MB = 1_000_000
MOST_PAGE, MOST_GROWTH = 2 * MB + 1000, 120 * MB
EACH = 8
"""Decisions for each field."""
BIG: dict[str, str] = {
    "36 user": "UPDATE decisions SET user_id = :text WHERE id = :id",
    "36 session": "UPDATE decisions SET session_id = :text WHERE id = :id",
    "36 why": "UPDATE decisions SET why = :text WHERE id = :id",
    "36 domain": "UPDATE decisions SET domain = :text WHERE id = :id",
    "36 removed": "UPDATE decisions SET removed = json_object('a', :text) WHERE id = :id",
    "36 prompt": "UPDATE decisions SET prompt = :text WHERE id = :id",
    "36 response id": "UPDATE outcomes SET response_id = :text WHERE decision_id = :id",
    "36 comments": "UPDATE feedback SET signals = json_object('comments', :text) WHERE decision_id = :id",
}


@dataclass
class World:
    running: GatewayProcess
    names: dict[str, list[str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pages")
    with StubProvider() as stub, gateway(folder, stub.base_url) as running:
        found = teach(running, EACH * len(BIG))
        running.stop()
        names = {row: found[i * EACH : (i + 1) * EACH] for i, row in enumerate(BIG)}
        with database(folder) as connection:
            for row, ids in names.items():
                for name in ids:
                    connection.execute(BIG[row], {"text": "x" * 4 * MB, "id": name})
        running.start()
        yield World(running, names)


def resident(pid: int) -> int:
    """Bytes that a process has had at most."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_36_pages_are_bounded_in_bytes_and_lead_to_all(world: World) -> None:
    before, found, cursor = resident(world.running.pid), [], ""
    while True:
        page = world.running.get(f"/v1/decisions?limit=200{cursor}")
        assert page.status == 200
        assert len(page.body) <= MOST_PAGE
        found += [record["id"] for record in page.json["data"]]
        if not page.json["has_more"]:
            break
        cursor = f"&before={found[-1]}"
    assert sorted(found) == sorted(name for names in world.names.values() for name in names)
    assert resident(world.running.pid) - before < MOST_GROWTH


@pytest.mark.parametrize("row", BIG)
def test_one_decision_is_bounded_too(world: World, row: str) -> None:
    reply = world.running.get(f"/v1/decisions/{world.names[row][0]}")
    assert reply.status == 200
    assert len(reply.body) <= MOST_PAGE


# ------------------------------------------------------------------ what is kept


async def long_id(asked: Asked) -> None:
    await asked.answer(completion().replace(b"chatcmpl-stub", b"i" * MB))


KEPT = {
    "36 user of a chat": ("decisions", "user_id", {"user": "u" * MB}),
    "36 control: session": ("decisions", "session_id", {"conduit": {"session_id": "s" * MB}}),
    "36 control: the provider's id": ("outcomes", "response_id", {"model": "long"}),
}
MOST_KEPT = 500


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("kept")
    with StubProvider({"long": long_id}) as stub:
        config = declared(stub.base_url, {"one": 1.0, "long": 1.0})
        with GatewayProcess(folder, config=config, command="conduit serve", env=ENV) as running:
            yield running


@pytest.mark.parametrize("row", KEPT)
def test_whoever_says_it_no_more_is_kept(keeping: GatewayProcess, row: str) -> None:
    """Or else the request is refused."""
    table, column, said = KEPT[row]
    body = {"model": "one", "messages": [{"role": "user", "content": "hello"}], **said}
    reply = keeping.post("/v1/chat/completions", body)
    assert reply.status in {200, 400, 422}
    if reply.status == 200:
        outcome_of(keeping, reply)  # which is written behind it
    ((longest,),) = rows(keeping.folder, f"SELECT max(coalesce(length({column}), 0)) FROM {table}")
    assert (longest or 0) <= MOST_KEPT
