"""What replicas share in Redis or Valkey."""
