"""The trained model for other tools: Hugging Face's layout, standard ONNX operators only."""
