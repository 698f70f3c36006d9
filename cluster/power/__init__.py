"""What devices draw: sensors behind one port, tried in a stated order, and the meters that read them."""
