"""Tasks that keep the service's own machine in order. One module each, so that loading one imports no other."""
