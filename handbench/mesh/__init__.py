"""Mesh hierarchy, spirals and up-sampling, computed from any hand."""
