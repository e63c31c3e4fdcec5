"""Parity: our SAC beside stable-baselines3's, same hyper-parameters (Haarnoja et al. 2018b)."""
