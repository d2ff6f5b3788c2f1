"""The field's other questions of a model, one file each."""
