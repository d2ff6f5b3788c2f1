"""The Python code that reproduces an experiment's result."""
