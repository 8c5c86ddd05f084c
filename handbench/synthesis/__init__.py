"""Synthetic grasp sequences with known geometry: objects, grasps, scenes, pictures."""
