"""Figures printed in papers: reading, checking, and the layout of the papers' tables."""
