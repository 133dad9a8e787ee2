-- Each line of the audit trail holds a hash over the one before and itself (audit_chain.py). Lines from before this
-- version have none and stand in front of the chain.
ALTER TABLE scheduler_audit ADD COLUMN hash BLOB NOT NULL DEFAULT x'';
