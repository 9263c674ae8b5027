"""LeRobot datasets, v3.0 and v2.1, read and v3.0 written without depending on lerobot."""
