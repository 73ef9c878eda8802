"""Give bundles to other programs: ONNX files and STAC items."""
