"""Training of a cascade (extra `train`): PyTorch networks, their fitting, and the export to ONNX."""
