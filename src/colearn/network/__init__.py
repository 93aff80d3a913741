"""A network of learners: invitations, the folder of a node, and the processes that run it."""
