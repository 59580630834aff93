"""The command line: each command reads its options and hands over."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from conduit.routing.errors import ConduitError

if TYPE_CHECKING:
    from conduit.assemble.conduit import Conduit
from conduit.core.umask import private_by_default

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Conduit learns which model should answer which prompt.",
)


@app.command()
def serve(
    host: str | None = typer.Option(None, help="Address to listen on; API_HOST by default."),
    port: int | None = typer.Option(None, min=1, max=65535, help="Port to listen on; API_PORT by default."),
) -> None:
    """Start the gateway."""
    from conduit.api.app import create_app
    from conduit.api.serve import serve as run
    from conduit.api.sources import read_environ, read_settings

    said = {"API_HOST": host, "API_PORT": port}
    environ = read_environ() | {name: str(value) for name, value in said.items() if value is not None}
    settings = read_settings(environ)
    run(
        create_app(settings, environ, alone=True),
        host=settings.api_host,
        port=settings.api_port,
        delay_s=settings.api_drain_s,
        grace_s=settings.api_grace_s,
    )


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date, and stop. Safe while gateways run, and when several do it at once."""
    import asyncio

    from conduit.api.sources import read_environ, read_settings
    from conduit.assemble import migrate as run

    asyncio.run(run(read_settings(read_environ())))
    typer.echo("the schema is up to date")


@app.command()
def check() -> None:
    """Look at all that a start needs, change nothing, and say what is wrong and how to mend it; then exit with 1."""
    from conduit.cli.check import run

    run()


@app.command()
def replay(
    table: Path = typer.Argument(help="A routing table: JSON lines, gzipped or not."),
    policy: str = typer.Option(
        "hierarchical",
        help="hierarchical, thompson_sampling, contextual_thompson_sampling, ucb1, epsilon_greedy, linucb, "
        "paced_linucb, hybrid_ucb1_linucb, hybrid_thompson_linucb, dueling, knn, always_best, always_cheapest, "
        "uniform or fixed:MODEL.",
    ),
    budget_usd: float | None = typer.Option(None, help="Mean US dollars a request that may be spent."),
    seed: int = typer.Option(0, help="Of the order of prompts and of every draw."),
    decisions: Path | None = typer.Option(None, help="Write one JSON line a decision here."),
    limit: int | None = typer.Option(None, min=1, help="Stop after so many prompts."),
) -> None:
    """Replay a routing table with bandit feedback: only the chosen model's outcome is learned from."""
    from conduit.cli.replay import run_replay

    run_replay(table, policy=policy, budget_usd=budget_usd, seed=seed, out=decisions, limit=limit)


@app.command()
def bench(
    tables: list[Path] = typer.Argument(metavar="TABLE", help="Routing tables: JSON lines, gzipped or not."),
    policy: list[str] = typer.Option(
        [],
        help="Names as for replay, one to each option, or `all`; differences are taken from the first. "
        "Without any: hierarchical, thompson_sampling, linucb, paced_linucb.",
    ),
    budgets: int = typer.Option(6, min=1, help="Steps of the ladder from the cheapest model's cost to the best one's."),
    seeds: int = typer.Option(10, min=1, help="Runs of each policy at each budget, in different orders."),
    limit: int | None = typer.Option(None, min=1, help="Play only so many prompts of each table."),
    jobs: int = typer.Option(1, min=1, help="Processes."),
    out: Path = typer.Option(Path("bench-results"), help="Folder for results.json and a picture of each table."),
    form: str | None = typer.Option(None, "--format", help="Of the pictures: svg, png, pdf, none.", show_default="svg"),
) -> None:
    """Let policies compete on routing tables: from a cold start, under budgets, over seeds."""
    from conduit.cli.bench import run_bench

    run_bench(tables, policies=policy, budgets=budgets, seeds=seeds, limit=limit, jobs=jobs, out=out, form=form)


@app.command()
def evaluate(
    policy: str = typer.Option("hierarchical", help="The policy to judge; names as for replay."),
    preferences: str = typer.Option(
        "balanced", help="balanced, quality, cost, speed, or quality=1,cost=2,latency=0.1."
    ),
    last: int = typer.Option(20_000, min=1, help="How many of the ledger's decisions to look at."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Judge a policy on the ledger's own traffic, without serving it."""
    from conduit.cli.evaluate import run_evaluate
    from conduit.routing.query import Preferences

    conduit = _assembled()
    run_evaluate(conduit, policy=policy, preferences=Preferences.named(preferences), last=last, as_json=as_json)


@app.command()
def savings(
    baseline: str | None = typer.Option(None, help="The model to compare with; BASELINE_MODEL by default."),
    last: int = typer.Option(2000, min=1, help="How many of the ledger's decisions to look at."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what was saved against always asking one model, with intervals."""
    from conduit.cli.savings import run_savings

    conduit = _assembled()
    run_savings(conduit, baseline=baseline, last=last, as_json=as_json)


def _assembled() -> "Conduit":
    """A gateway that serves nobody. What it has to tell goes to standard error: the other is for results."""
    import asyncio

    from conduit.api.sources import read_environ, read_settings
    from conduit.assemble import assemble
    from conduit.observability.logging.logs import setup_logs

    environ = read_environ()
    settings = read_settings(environ)
    setup_logs(level=settings.log_level, form=settings.log_format)
    return asyncio.run(assemble(settings, environ))


@app.command()
def demo(
    seconds: int = typer.Option(60, min=1, help="How long it plays."),
    seed: int = typer.Option(0, help="Of the prompts and of every draw."),
) -> None:
    """Watch the gateway learn: offline, simulated models, no key."""
    from conduit.cli.demo import run_demo

    run_demo(seconds=seconds, seed=seed)


@app.command()
def export(
    path: Path = typer.Argument(help="Where to: a name that ends in .jsonl, .jsonl.gz or .parquet."),
    force: bool = typer.Option(False, help="Replace a file that is there."),
) -> None:
    """Write the whole ledger into a file: decisions, outcomes, feedback, observations."""
    from conduit.cli.ledger import export as run

    run(path, force=force)


@app.command("import")
def take_in(
    path: Path = typer.Argument(help="From where: a file that `conduit export` wrote."),
) -> None:
    """Add to the ledger what it does not have yet; the same file again changes nothing."""
    from conduit.cli.ledger import take_in as run

    run(path)


@app.command("prune")
def remove_old(
    older_than: str = typer.Option(metavar="TIME", help="Of decisions that are removed: 90d, 12h."),
    forget: bool = typer.Option(False, "--forget", help="Do not keep what they taught."),
    wait: str = typer.Option("60s", metavar="TIME", help="So long every worker has to read what will go."),
) -> None:
    """Remove old decisions from the ledger; beliefs keep what they learned. Safe while gateways run."""
    from conduit.cli.ledger import remove_old as run

    run(older_than=older_than, forget=forget, wait=wait)


keys = typer.Typer(no_args_is_help=True, help="Keys of callers: make, list, rotate and revoke them.")
app.add_typer(keys, name="keys")
NAMED = typer.Argument(help="Its name, or its id.")


@keys.command("create")
def create_key(
    name: str = typer.Argument(help="Letters, digits, '.', '_', '-'; it stays when the secret is replaced."),
    scope: list[str] = typer.Option([], help="complete, feedback, read or admin; without any the first three."),
    expires: str | None = typer.Option(None, help="How long it is good: 90s, 15m, 12h, 30d; for ever by default."),
    requests_per_minute: int | None = typer.Option(None, min=1, max=2**31 - 1, help="In place of API_RATE_LIMIT."),
    tokens_per_minute: int | None = typer.Option(None, min=1, max=2**31 - 1, help="Tokens, in and out."),
    concurrent: int | None = typer.Option(None, min=1, max=2**31 - 1, help="Requests at once."),
) -> None:
    """Make a key; its secret is shown once, on standard output."""
    from conduit.cli.keys import create
    from conduit.core.keys import Limits

    create(name, scopes=scope, expires=expires, limits=Limits(requests_per_minute, tokens_per_minute, concurrent))


@keys.command("list")
def list_keys() -> None:
    """Show every key there ever was, and what it may do."""
    from conduit.cli.keys import show

    show()


@keys.command("rotate")
def rotate_key(
    name: str = NAMED,
    overlap: str = typer.Option("1d", help="How long the old secret stays good: 0s, 15m, 12h, 30d."),
) -> None:
    """Give a key a new secret, which is shown once, on standard output."""
    from conduit.cli.keys import rotate

    rotate(name, overlap=overlap)


@keys.command("revoke")
def revoke_key(name: str = NAMED) -> None:
    """Let a key open nothing any more, on every worker within two seconds."""
    from conduit.cli.keys import revoke

    revoke(name)


beliefs = typer.Typer(no_args_is_help=True, help="What is believed of the models: to see, to keep, to take back.")
app.add_typer(beliefs, name="beliefs")


@beliefs.command("show")
def show_beliefs(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show quality, tokens and latency of each model, over the last 200 requests."""
    from conduit.cli.beliefs import show

    show(as_json=as_json)


@beliefs.command("export")
def export_beliefs(
    path: Path = typer.Argument(help="Where to."),
    force: bool = typer.Option(False, help="Replace a file that is there."),
) -> None:
    """Write what is believed now into a file."""
    from conduit.cli.beliefs import export

    export(path, force=force)


@beliefs.command("import")
def import_beliefs(path: Path = typer.Argument(help="A file that `conduit beliefs export` wrote.")) -> None:
    """Begin with the beliefs of another gateway, on a database that has taught nothing yet."""
    from conduit.cli.beliefs import take_in

    take_in(path)


@beliefs.command("rollback")
def roll_back(
    to: str | None = typer.Option(
        None, metavar="TIME", help="What was learned since: 2026-11-26T12:00 (UTC), or 90s, 15m, 12h, 30d ago."
    ),
    without_key: str | None = typer.Option(None, metavar="KEY", help="What requests of this key taught; name or id."),
    yes: bool = typer.Option(False, "--yes", help="Do it; without, it is only counted."),
) -> None:
    """Take back what was learned, on all workers; nothing is deleted."""
    from conduit.cli.beliefs import rollback

    rollback(to=to, without_key=without_key, yes=yes)


def main() -> None:
    """Errors of ours are one line, not a traceback."""
    private_by_default()
    try:
        app()
    except ConduitError as error:
        sys.exit(f"conduit: {error}")
    except BrokenPipeError:
        sys.exit(141)
