"""The stand-in of MUSIC: drawn instruments that play SoundFont music, and a video of them."""
