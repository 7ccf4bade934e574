"""The networked server: ``spec.raft.step`` on sockets and disks. No rule of Raft stands here.

Reading order: ``node`` (the loop, without I/O: what to write, send, apply and answer, and when),
``storage`` with ``journal`` and ``snapshots`` (what survives a crash), ``transport`` with ``wire``
(what members say to each other), ``machine`` (the contract of what is replicated), ``store`` with
``sessions`` and ``shards`` (the key-value store), ``clients`` with ``resp`` and ``operations``
(Redis' protocol), ``server`` (all of it in one process); ``client`` and ``replica`` are for users.
"""
