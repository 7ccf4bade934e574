"""The networked server, which will run ``spec.raft.step`` on sockets and disks; not here yet."""
