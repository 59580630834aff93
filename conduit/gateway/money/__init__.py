"""What may be spent: hard caps, and budgets that are paced."""
