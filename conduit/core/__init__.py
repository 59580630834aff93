"""The vocabulary of routing: what can be chosen, what was asked, what was decided. No input, no output."""
