"""From feedback and outcomes to beliefs."""
