"""The camera loop: capture ∥ prepare + invoke + decode ∥ sinks, each in threads of its own."""
