"""`aico-sched top`: the service live on the whole screen."""
