"""Running experiments: hooks, forward passes, the activation cache, verdicts, training."""
