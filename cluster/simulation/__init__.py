"""A day of traffic, machines and grid that are made up, under the control loop that serves. No Ray."""
