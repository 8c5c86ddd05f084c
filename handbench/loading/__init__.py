"""From a prepared split to batches: samples, crops, labels, order, the way to the device."""
