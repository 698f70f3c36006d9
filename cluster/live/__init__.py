"""The live page's server side: what the controller tells of every window, and how ingress replicas hand it on."""
