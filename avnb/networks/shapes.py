"""The shapes that networks and methods are asked with, which dozens of signatures share.

Frames are raw RGB, uint8 or already normalised; sounds are mono; ``features`` are a frozen trunk's maps of the frames,
where they are already known. What belongs to a mixture's sources has an axis of them behind the batch's.
"""

from jaxtyping import Float, Shaped
from torch import Tensor

Frames = Shaped[Tensor, "batch 3 height width"]
Features = Float[Tensor, "batch channels rows columns"]
Sound = Float[Tensor, "batch time"]

SourceFrames = Shaped[Tensor, "batch sources 3 height width"]
SourceFeatures = Float[Tensor, "batch sources channels rows columns"]
SourceSounds = Float[Tensor, "batch sources samples"]
SourceVectors = Float[Tensor, "batch sources seen"]  # of each source's frame, or of a part of it
SourceMasks = Float[Tensor, "batch sources bands frames"]
