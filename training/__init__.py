"""Frames to registered models: the contract, learners, the models, the trainer and the registry."""
