"""Meta-World (Farama, MuJoCo): one of the simulators, with cameras and scripted drivers."""
