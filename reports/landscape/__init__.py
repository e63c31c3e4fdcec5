"""Test returns of policies along a trained agent's gradients."""
