"""Stands for BitBake's `prserv`, which the package of BitBake's library lacks."""
