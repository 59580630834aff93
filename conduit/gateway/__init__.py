"""What happens to a request, and to a feedback event: orchestration through protocols only."""
