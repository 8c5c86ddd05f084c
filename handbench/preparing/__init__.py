"""From a reader's frames to part files and an index."""
