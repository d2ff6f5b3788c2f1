"""Python scripts that reproduce an experiment's result."""
