"""The environment `cluster`: attempts on the workers of a Dask cluster.

`runner` is the service's side. It starts one `gateway` process that holds the Dask client, for two reasons: importing
Dask takes over a second of the event loop, and its protocol unpickles what the cluster sends, which this process must
not. Between the two goes msgpack. `remote` is what runs on a worker: there must be the same aico-sched and the task's
own package, because a task travels as the name of its class, never as code.
"""
