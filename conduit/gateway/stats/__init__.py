"""What the whole ledger comes to, and whether this process can serve."""
