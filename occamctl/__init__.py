"""occamctl: one course file and a few Docker hosts become a machine-learning course."""

__version__ = "0.1.0"
