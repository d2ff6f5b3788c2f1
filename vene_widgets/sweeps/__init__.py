"""Sweeps: one slot moved over layers and positions, previewed in batches."""
