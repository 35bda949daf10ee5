"""Stands for a module that BitBake imports and these tests do not use."""
