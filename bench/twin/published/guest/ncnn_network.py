"""`ncnn_network.py MODULE PARAM WIDTH HEIGHT THREADS`: run a network of benchncnn once, between marks.

MODULE is the extension module of ncnn's wheel. Weights are zeros, options those of benchncnn of that version.
The first run warms up: it fills the pools of memory.
"""

import importlib.machinery
import importlib.util
import os
import sys

path, param = sys.argv[1:3]
width, height, threads = map(int, sys.argv[3:])
# The package around the module imports numpy and OpenCV, which are not needed.
loader = importlib.machinery.ExtensionFileLoader("ncnn", path)
ncnn = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("ncnn", loader, origin=path))
loader.exec_module(ncnn)

blobs, workspace = ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator()
blobs.set_size_compare_ratio(0.0)
workspace.set_size_compare_ratio(0.5 if ncnn.__version__ < "1.0.2023" else 0.0)
option = ncnn.Option()
option.lightmode = True
option.num_threads = threads
option.blob_allocator, option.workspace_allocator = blobs, workspace
option.use_winograd_convolution = option.use_sgemm_convolution = option.use_int8_inference = True
option.use_vulkan_compute = False
option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = True
option.use_int8_storage = option.use_int8_arithmetic = option.use_packing_layout = True
option.use_shader_pack8 = option.use_image_storage = False
ncnn.set_omp_dynamic(0)
ncnn.set_omp_num_threads(threads)

image = ncnn.Mat((width, height, 3))
image.fill(0.01)
net = ncnn.Net()
net.opt = option
zeros = ncnn.DataReaderFromEmpty()
if net.load_param(param) or net.load_model(zeros):
    sys.exit(f"ncnn does not load {param}")
first, last = net.input_names()[0], net.output_names()[0]


def run() -> None:
    """Run the network once."""
    extractor = net.create_extractor()
    extractor.input(first, image)
    code, _ = extractor.extract(last)
    if code:
        sys.exit(f"ncnn does not run {param}: {code}")


run()
os.getsid(0)
os.getsid(0)
run()
os.getsid(0)
print(ncnn.__version__, flush=True)
os._exit(0)  # Python would destroy the pools before the network that uses them
