"""One test for each rule of the extended Raft paper, in the paper's order."""
