"""Public checkpoints in their authors' layouts, rewritten as folders that diffusers reads."""
