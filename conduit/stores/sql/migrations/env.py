"""How Alembic runs here: on the connection, in the transaction, that it is given."""

from alembic import context

from conduit.stores.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=context.config.attributes["schema"],
)
with context.begin_transaction():
    context.run_migrations()
