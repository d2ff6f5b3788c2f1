"""Tensors to tidy DataFrames: columns, metrics, statistics."""
