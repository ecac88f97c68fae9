"""Write how often that network names each option rightly, on held-out images."""

from fewshot_diffusion import cli
from fewshot_diffusion.metrics.semantic_training import judge_semantic_network

if __name__ == "__main__":
    cli.run(judge_semantic_network)
