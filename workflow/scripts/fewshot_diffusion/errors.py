"""Errors a tired user can act on: what, where, found against expected, what to run."""


class FewshotError(Exception):
    """Base of every error that this library raises on bad input."""


class ConfigError(FewshotError):
    """A setting is mistyped, unknown or out of range."""


class DataError(FewshotError):
    """A data set is missing, malformed, or too small for what was asked."""


class CorruptFileError(FewshotError):
    """A stored file is truncated, altered, or not what its name promises."""


class DownloadError(FewshotError):
    """A public file cannot be had, or is not the one that it should be."""


class WeightsError(FewshotError):
    """Weights are missing or do not fit the model that should hold them."""


class CheckpointError(FewshotError):
    """A checkpoint belongs to another run."""


class StoppedError(FewshotError):
    """A job was told to stop before its end, and kept its state."""


class GuidanceError(FewshotError):
    """A guidance gradient does not reach the noisy image."""


class SamplingError(FewshotError):
    """Samples are not finite: no image is made of them."""


class MetricError(FewshotError):
    """Features or counts from which a metric cannot be computed."""
