"""Duomo: customer service that understands what people write, say and photograph."""
