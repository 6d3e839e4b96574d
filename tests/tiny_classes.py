"""The four classes of the tiny data set: how they look and what they sound like."""

CLASSES = ("bell", "drum", "horn", "whistle")
COLOURS = {"bell": (230, 200, 20), "drum": (200, 40, 40), "horn": (40, 160, 60), "whistle": (50, 80, 220)}
PITCHES = {"bell": 330.0, "drum": 110.0, "horn": 220.0, "whistle": 660.0}  # Hz
