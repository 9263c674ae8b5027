"""The validator: finds problems in a dataset that would harm training, with advice for each."""
