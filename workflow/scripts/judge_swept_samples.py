"""Write what the tuning judge says of one candidate's samples."""

from fewshot_diffusion import cli
from fewshot_diffusion.explorer.found import judge_swept_samples

if __name__ == "__main__":
    cli.run(judge_swept_samples)
