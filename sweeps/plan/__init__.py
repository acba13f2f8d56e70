"""Plans of sweeps: read, checked, expanded to configurations."""

from sweeps.plan.inputs import InputBlock, InputFile, find_inputs
from sweeps.plan.plan import CodecBlock, Plan, of_blocks
from sweeps.plan.reading import is_plan, load_plan, parse_plan, preset_names

__all__ = [
    "CodecBlock",
    "InputBlock",
    "InputFile",
    "Plan",
    "find_inputs",
    "is_plan",
    "load_plan",
    "of_blocks",
    "parse_plan",
    "preset_names",
]
