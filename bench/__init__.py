"""Measurements: CPU per request of the whole process, beside others in the same run."""
