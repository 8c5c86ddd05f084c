"""Data shipped inside the package: the open hand and the grasp library (see README.md here)."""
