"""One importer a data set: each plans which clips are to be cut from which files; avnb/prepare/command.py cuts them."""

from types import MappingProxyType

# The name on the command line -> the module with its plan().
IMPORTERS = MappingProxyType(
    {
        "music": "music",
        "music-synthetic": "music_synthetic",
        "vggsound-instruments": "vggsound_instruments",
        "vggsound-music": "vggsound_music",
        "vggsound-single": "vggsound_single",
        "vggsound-duet": "vggsound_duet",
        "vggsound-extended": "vggsound_extended",
        "flickr-soundnet": "flickr_soundnet",
        "flickr-extended": "flickr_extended",
        "is3": "is3",
        "avsbench-s4": "avsbench_s4",
        "avsbench-ms3": "avsbench_ms3",
        "voxceleb2": "voxceleb2",
        "audioset-instrument": "audioset_instrument",
        "kinetics400": "kinetics400",
        "folder": "own_folders",
    }
)
