"""Reader and writer of robomimic HDF5 files."""
