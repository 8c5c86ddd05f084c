"""From predicted and true hands to numbers: alignments, errors, metrics, statistics."""
