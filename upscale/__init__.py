"""Restores old footage with a PixelCNN."""

__version__ = "0.1.0"
