"""From output tensors to predictions in frame pixels: one decoder for each kind of head."""
