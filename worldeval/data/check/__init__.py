"""The validator: what in a dataset would harm training, and what to do about it."""
