"""The trained model for other people's tools: Hugging Face's layout, standard ONNX operators only."""
