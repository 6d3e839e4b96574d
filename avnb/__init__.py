"""Find the things in a picture that make the sounds in a mixture."""
