"""How good a converted model is: figures over labelled pictures, and comparison with its source."""
