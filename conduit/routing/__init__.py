"""The library: beliefs about models, and which of them a prompt goes to. It imports nothing of Conduit but bandits."""
