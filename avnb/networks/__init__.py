"""What the methods are built of: encoders, spectrograms, losses and separation masks."""
