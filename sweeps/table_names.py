"""Names of tables and measures, apart from what makes them, so that a command's help is quick."""

TABLES = ("v", "vi", "vii", "rdo", "inputs", "iso")
METRICS = ("miou_labels", "miou_pseudo", "agreement", "psnr_y")
ACROSS = ("auto", "pool", "mean")
