"""Meta-World (Farama, MuJoCo): one simulator among others, with cameras and scripted drivers."""
