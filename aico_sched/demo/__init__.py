"""`python -m aico_sched.demo`: the service, a client process and a bare pyzmq process at work for some seconds, with
a summary of what ran and whether everything arrived."""
