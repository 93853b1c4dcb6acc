"""tinyedge compared with onnxruntime-genai, llama.cpp and transformers: `python -m bench.peers`."""
