"""Print the attribute table in the poster's layout: one block per metric, then the judge's shares."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.readme import judge_view, measured_metrics, wide_view


def show_table(tables: Path) -> None:
    """Print the tables of one data set.

    Args:
        tables: Its folder of tables.
    """
    table = read_csv(tables / "attributes.csv")
    for metric in measured_metrics(table):
        print(f"\n{metric}, distance to the class (lower is better; ± is a 95 % interval)")
        print(wide_view(table, metric).to_string())
    print("\nshare that the independent judge takes for the class")
    print(judge_view(read_csv(tables / "attributes_judge.csv")).to_string())


if __name__ == "__main__":
    cli.run(show_table)
