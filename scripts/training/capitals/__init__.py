"""Training of the built-in model `capitals`; not part of the wheel."""
