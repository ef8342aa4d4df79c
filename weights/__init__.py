"""Trained weights, and a model card beside each file."""
