"""What `nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader` answers on several machines."""

H200 = "NVIDIA H200, 9.0, 580.95.05\n"
H100_OLDER_DRIVER = "NVIDIA H100 80GB HBM3, 9.0, 550.163.01\n"
LAPTOP_ADA = "NVIDIA GeForce RTX 4070 Laptop GPU, 8.9, 581.57\n"
BLACKWELL = "NVIDIA GeForce RTX 5090, 12.0, 580.105.08\n"
BLACKWELL_OLDER_DRIVER = "NVIDIA GeForce RTX 5090, 12.0, 572.83\n"
TURING = "NVIDIA GeForce RTX 2070 SUPER, 7.5, 590.44.01\n"
TURING_OLDER_DRIVER = "NVIDIA GeForce GTX 1650, 7.5, 535.274.02\n"
VOLTA = "Tesla V100-SXM2-16GB, 7.0, 580.82.07\n"
PASCAL = "NVIDIA GeForce GTX 1080 Ti, 6.1, 580.95.05\n"
MAXWELL = "NVIDIA GeForce GTX 970, 5.2, 560.94\n"
KEPLER = "Tesla K80, 3.7, 470.256.02\n"
PASCAL_OLD_DRIVER = "NVIDIA GeForce GTX 1060 6GB, 6.1, 516.94\n"
PASCAL_AND_AMPERE = "NVIDIA GeForce RTX 3090, 8.6, 580.95.05\nNVIDIA GeForce GTX 1080, 6.1, 580.95.05\n"
PASCAL_AND_BLACKWELL = "NVIDIA GeForce GTX 1080, 6.1, 580.95.05\nNVIDIA GeForce RTX 5080, 12.0, 580.95.05\n"
TWO_ALIKE = "NVIDIA RTX A6000, 8.6, 580.65.06\nNVIDIA RTX A6000, 8.6, 580.65.06\n"
VIRTUAL_CARD = "GRID A100-20C, [N/A], 580.82.07\n"
COMMA_IN_NAME = "NVIDIA Graphics Device, engineering sample, 8.9, 580.65.06\n"
WINDOWS_LINES = "NVIDIA GeForce RTX 3060, 8.6, 581.15\r\n"

DRIVER_SILENT = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
DRIVER_MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n"
NO_DEVICES = "No devices were found\n"
FIELD_UNKNOWN = 'Field "compute_cap" is not a valid field to query.\n\n'
WSL_BLOCKED = "Failed to initialize NVML: GPU access blocked by the operating system\n"
EMPTY = ""

PIP_TORCH = """\
Looking in indexes: https://example.invalid/simple
Collecting torch==2.13.0
  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.6 MB)
Progress 0 of 530600000
Progress 120000000 of 530600000
Progress 130000000 of 530600000
Progress 430000000 of 530600000
Progress 530600000 of 530600000
Collecting filelock (from torch==2.13.0)
  Downloading filelock-4.2.11-py3-none-any.whl (222 kB)
Progress 222000 of 222000
Collecting nvidia-cudnn-cu13==9.20.0.48 (from torch==2.13.0)
  Downloading nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl (1.1 GB)
Progress 600000000 of 1100000000
Installing collected packages: nvidia-cudnn-cu13, filelock, torch
Successfully installed filelock-4.2.11 nvidia-cudnn-cu13-9.20.0.48 torch-2.13.0
"""

PIP_REST = """\
Requirement already satisfied: torch==2.13.0 in ./.venv/lib/python3.11/site-packages (2.13.0)
Collecting diffusers~=0.42.1 (from -r requirements.txt (line 6))
  Downloading diffusers-0.42.1-py3-none-any.whl (6.4 MB)
Requirement already satisfied: filelock~=4.2 in ./.venv/lib/python3.11/site-packages (4.2.11)
Processing /shared-9/my wheels/huggingface_hub-2.4.0-py3-none-any.whl (from -r requirements.txt (line 11))
Collecting idna (from huggingface_hub)
Collecting gradio~=6.31 (from -r requirements.txt (line 20))
  Using cached gradio-6.31.0-py3-none-any.whl (31.4 MB)
Installing collected packages: idna, diffusers, huggingface-hub, gradio
Successfully installed diffusers-0.42.1 gradio-6.31.0 huggingface-hub-2.4.0 idna-3.20
"""

PIP_OFFLINE = """\
WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new \
connection: [Errno -3] Temporary failure in name resolution')': /simple/torch/
ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)
ERROR: No matching distribution found for torch==2.13.0
"""
PIP_DISK_FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
PIP_NO_WHEEL = """\
ERROR: Could not find a version that satisfies the requirement brotli~=9.0 (from versions: 1.1.0, 1.2.0)
ERROR: No matching distribution found for brotli~=9.0
"""
PIP_OTHER = "ERROR: Hash mismatch\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n"
