-- All tables but the seeds' two begin with `scheduler_`, since they may stand in AICO's own database.
ALTER TABLE counters RENAME TO scheduler_counters;
