"""First floor: chains, rewards, prices, energy and carbon maths. No Ray, no sockets, no sensors."""
