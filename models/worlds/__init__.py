"""Where interactions come from: a synthetic world with known truth, and KuaiRand-Pure."""
