"""Keras on the workers of a Spark cluster: one network, trained on all of them at the same time. See train.py."""
