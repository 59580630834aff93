"""What the decisions of one key came to: walked, for days are counted of all keys together."""

from sqlalchemy import Connection, and_, func, select

from conduit.core.storage import Totals
from conduit.routing.decision import Status
from conduit.stores.sql import rows
from conduit.stores.sql.tables import decisions, feedback, outcomes

_latest, _later = feedback.alias("latest"), feedback.alias("later")
_ended = (
    select(
        outcomes.c.model,
        outcomes.c.status,
        func.count().label("calls"),
        func.count(outcomes.c.cost_usd).label("priced"),
        func.coalesce(func.sum(outcomes.c.cost_usd), 0.0).label("cost_usd"),
        func.sum(outcomes.c.latency_s).label("latency_s"),
    )
    .join(decisions, decisions.c.id == outcomes.c.decision_id)
    .group_by(outcomes.c.model, outcomes.c.status)
)
_worth = func.sum(_latest.c.weight * _latest.c.quality) / func.nullif(func.sum(_latest.c.weight), 0.0)
_rated = select(func.count(), _worth).where(
    and_(
        _latest.c.weight > 0,
        _latest.c.model.is_not(None),
        ~select(_later.c.id)
        .where(_later.c.decision_id == _latest.c.decision_id, _later.c.revision > _latest.c.revision)
        .exists(),
    )
)


def totals(connection: Connection, *, key_id: str) -> Totals:
    """Of those that are in the ledger still."""
    name = rows.text(key_id)
    mine = decisions.c.key_id == name
    ended = connection.execute(_ended.where(mine)).all()
    answers = [row for row in ended if row.status == Status.ANSWERED]
    answered = sum(row.calls for row in answers)
    rated, quality = connection.execute(_rated.where(_latest.c.key_id == name)).one()
    return Totals(
        decisions=connection.execute(select(func.count()).select_from(decisions).where(mine)).scalar_one(),
        answered=answered,
        cached=sum(row.calls for row in ended if row.status == Status.CACHED),
        failed=sum(row.calls for row in ended if row.status == Status.FAILED),
        cost_usd=sum((row.cost_usd for row in ended), 0.0),
        unpriced=sum(row.calls - row.priced for row in answers),
        latency_s=sum(row.latency_s for row in answers) / answered if answered else 0.0,
        by_model={row.model: row.calls for row in answers},
        rated=rated,
        quality=None if quality is None else float(quality),
    )
