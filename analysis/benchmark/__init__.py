"""Speed and memory of the suite's own machinery: `python -m analysis.benchmark`."""

NESTING = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # of the paper's ImageNet models
