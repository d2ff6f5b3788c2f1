"""Sweeps over many pairs of prompts, and their statistics."""
