"""Networks of other libraries as ONNX files this project runs: mmsegmentation and torchvision."""
