"""The checks of `tellwire doctor`: each kind in a module, with pure findings and a thin shell that asks."""
