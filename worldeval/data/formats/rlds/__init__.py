"""RLDS and Open X-Embodiment: TFRecord datasets as TFDS ships them, read without TensorFlow."""
