"""The actors: handlers only. The work they do lives in `aico_sched`; no actor imports another."""
