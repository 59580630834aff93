"""The mathematics: vectors, arms, rewards. Knows nothing of language models; imports numpy and nothing of Conduit."""
