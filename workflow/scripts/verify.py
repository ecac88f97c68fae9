"""Verify every stored file against the digests that were recorded of it; name those that do not match."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.verification import missing_products, verify, verify_inputs, verify_remote, verify_stored


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "folders", type=Path, nargs="*", default=[Path("weights"), Path("results"), Path("checkpoints")]
    )
    args = parser.parse_args()
    checks = [verify(args.folders), verify_stored(), verify_remote(), verify_inputs()]
    number = sum(read for read, _ in checks)
    problems: dict[str, str] = {}  # the first of each file
    for problem in (problem for _, found in checks for problem in found):
        problems.setdefault(problem.partition(": ")[0], problem)
    for problem in problems.values():
        print(problem, file=sys.stderr)
    if absent := missing_products():
        print(f"{len(absent)} stored products are not here, e.g. {absent[0]}. `make restore` brings them.")
    if problems:
        sys.exit(
            f"error: {len(problems)} files do not match what was recorded. Delete what is damaged or replaced, then: "
            "`make restore` for stored ones, `git checkout` for those in git, their target for what was made here."
        )
    print(f"{number} checks: every file that is here matches what was recorded.")


if __name__ == "__main__":
    cli.run(main)
