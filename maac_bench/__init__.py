"""The trainer, the gradient estimators and the command line."""
