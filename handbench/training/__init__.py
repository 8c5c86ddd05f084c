"""From a prepared split to a trained run and its predictions."""
