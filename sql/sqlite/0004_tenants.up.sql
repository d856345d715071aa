-- Version 4 is about roles and row-level security, which a SQLite file does not have: there every function that reads takes a tenant.
SELECT 1;
