"""LeRobot datasets: v3.0 and v2.1 are read and v3.0 is written, without depending on lerobot."""
