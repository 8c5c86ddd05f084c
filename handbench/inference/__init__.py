"""What trained networks are asked: predictions, own pictures, the authors' weights, cost, ONNX."""
