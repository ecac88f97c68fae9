"""Verify every stored file against its recorded digest; name those that do not match."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.verification import verify, verify_remote, verify_stored


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "folders", type=Path, nargs="*", default=[Path("weights"), Path("results"), Path("checkpoints")]
    )
    args = parser.parse_args()
    checks = [verify(args.folders), verify_stored(), verify_remote()]
    number = sum(read for read, _ in checks)
    problems = [problem for _, found in checks for problem in found]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(f"error: {len(problems)} of {number} files do not match what was recorded.")
    print(f"{number} files match what was recorded.")


if __name__ == "__main__":
    cli.run(main)
