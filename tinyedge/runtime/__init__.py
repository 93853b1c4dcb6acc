"""From a bundle to text, with numpy, onnxruntime and sentencepiece alone. Never imports train or export."""
