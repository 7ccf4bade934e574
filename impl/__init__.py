"""The networked server. Not here yet: it will drive ``spec.raft.step`` on real sockets and disks."""
