"""Ground floor: the cascade as data and ONNX. Knows nothing of Ray."""
