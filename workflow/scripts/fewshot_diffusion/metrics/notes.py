"""What must be said beside a number that means little: too few images, or a judge that knows too little."""

LEAST_ACCURACY = 0.8
"""Balanced accuracy on real images below which a judge's opinion is flagged; 0.5 is a coin."""

LEAST_MIOU = 0.5
"""mIoU on real images below which a segmenter's is."""


def judge_note(accuracy: float) -> str:
    """Return a flag that carries the value, for a judge below ``LEAST_ACCURACY`` on real images; else nothing."""
    return f"judge right on {100 * accuracy:.1f} % of real images only" if not accuracy >= LEAST_ACCURACY else ""


def segmenter_note(miou: float) -> str:
    """Return a flag that carries the value, for a segmenter below ``LEAST_MIOU`` on real images; else nothing."""
    return f"segmenter's own mIoU on real images {miou:.2f} only" if miou < LEAST_MIOU else ""


def few_note(n: int, wanted: int) -> str:
    """Return a flag for a number of ``n`` images where ``wanted`` were asked for; else nothing."""
    return f"{n} of {wanted} images" if n < wanted else ""


def joined(*notes: str) -> str:
    """Return the notes that say something, as one text."""
    return "; ".join(filter(None, notes))
