"""How the built-in model `capitals` was made: not part of the wheel."""
