"""robomimic HDF5, read and written."""
