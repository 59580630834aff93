"""The ledger in files: what waits for the database, and what is exported."""
