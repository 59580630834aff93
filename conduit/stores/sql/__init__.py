"""The ledger and all beside it in SQLite or PostgreSQL."""
