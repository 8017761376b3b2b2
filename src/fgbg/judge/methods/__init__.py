"""What was done and found, in the sentences of a paper's methods section, from run folders alone."""
