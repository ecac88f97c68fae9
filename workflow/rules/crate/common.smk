# What the report shows of `all`, as the deposit describes it.
# in:  EVERYTHING, and the report's entries of the rules that make it
# out: products, a function: path, name and description of each file

import json
from importlib.metadata import version

from fewshot_diffusion.tooling.crate_files import PICTURES, caption_text, workflow_digest

PICTURE_LICENCES = {"avatars": "CC-BY-4.0"}  # of what figures show, by the kind of the data; of others, none is packed


def reported(name):
    """Return the rule that makes a file of the report, the file's wildcards and its entry; None of other files."""
    entries = [(made, output, output.flags.get("report")) for made in workflow.rules for output in made.output]
    found = [(made, output.match(name), entry) for made, output, entry in entries if entry]
    return next(((made, match.groupdict(), entry) for made, match, entry in found if match), None)


def products_of(name):
    """Return a file of the report, and its figure in other formats, as the report describes it."""
    if (found := reported(name)) is None:
        return []
    made, wildcards, entry = found
    formats = [output.apply_wildcards(wildcards) for output in made.output if not output.flags.get("report")]
    said = {
        "name": f"{entry.category}: {entry.labels['what'].format(**wildcards)}",
        "description": caption_text(
            workflow.sourcecache.open(entry.caption).read(),
            {"config": config, "wildcards": wildcards, "params": made.params},
        ),
    }
    return [said | {"path": str(path)} for path in (name, *formats)]


def products(wildcards):
    found = [product for group in EVERYTHING for name in group for product in products_of(name)]
    shown = CONFIG.data.kind in PICTURE_LICENCES
    return [product for product in found if shown or Path(product["path"]).suffix not in PICTURES]
