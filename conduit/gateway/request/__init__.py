"""One request: from what was asked to an answer, its cost and its record."""
