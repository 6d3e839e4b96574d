"""What of a decoded sound is the recording's, whichever release of FFmpeg decodes it."""

from fractions import Fraction

import av
import numpy as np
import pytest

from avnb.data.media_sound import samples_of, sound_frame, without_padding

RATE = 44_100


@pytest.mark.parametrize("samples", [50_000, 51_200, 1_000])
def test_the_last_block_of_an_encoder_ends_where_the_file_says(tmp_path, samples):
    path = tmp_path / "tone.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        tone = np.sin(np.arange(samples) / 10).astype(np.float32)[:, None]
        for packet in [*stream.encode(sound_frame(tone, "mono", RATE)), *stream.encode(None)]:
            container.mux(packet)
    with av.open(path) as container:
        stream = container.streams.audio[0]
        declared = stream.duration
        found = [samples_of(frame)[:kept] for frame, kept in without_padding(container.decode(stream))]
    assert sum(map(len, found)) == declared
    assert declared % 1024 == samples % 1024  # what the encoder was given, after its own lead


def test_frames_that_do_not_count_in_samples_are_left_as_they_are():
    frame = sound_frame(np.ones((1152, 1), np.float32), "mono", RATE)
    for duration, time_base in ((26, (1, 1000)), (0, (1, RATE))):
        frame.time_base = Fraction(*time_base)
        frame.duration = duration
        assert [kept for _, kept in without_padding([frame, frame])] == [1152, 1152]
