-- The relational store of an embedded Sesame. Times are milliseconds since 1970.

CREATE TABLE lists (
  n          INTEGER PRIMARY KEY AUTOINCREMENT, -- what changes and jobs say instead of the id; never used twice
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  created    INTEGER NOT NULL,
  updated    INTEGER NOT NULL,
  tags       TEXT NOT NULL,                     -- JSON object
  file       TEXT NOT NULL DEFAULT '',          -- sorted file with its members
  folded     INTEGER NOT NULL DEFAULT 0,        -- changes up to this number are in the file
  members    INTEGER NOT NULL DEFAULT 0,        -- how many it has, in the file and by changes
  UNIQUE (account, region, name)
);
CREATE INDEX lists_by_owner ON lists (account, region, id);

-- What was registered and deregistered since a list's file was written.
CREATE TABLE changes (
  list       INTEGER NOT NULL,                  -- lists.n
  seq        INTEGER NOT NULL,                  -- from 1 in each list
  key        TEXT NOT NULL,                     -- canonical form
  shown      TEXT NOT NULL,                     -- as it is shown; '' where that is the key
  created    INTEGER NOT NULL,
  removed    INTEGER NOT NULL,
  PRIMARY KEY (list, seq)
) WITHOUT ROWID;

-- Lists that are gone but whose changes still take space.
CREATE TABLE deleted_lists (
  n          INTEGER PRIMARY KEY
);

CREATE TABLE import_jobs (
  id         TEXT PRIMARY KEY,
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  list       INTEGER NOT NULL,                  -- lists.n
  list_id    TEXT NOT NULL,
  name       TEXT NOT NULL,
  format     TEXT NOT NULL,
  status     TEXT NOT NULL,
  object     TEXT NOT NULL DEFAULT '',          -- what was uploaded last
  size       INTEGER NOT NULL DEFAULT 0,
  uploaded   INTEGER NOT NULL DEFAULT 0,
  created    INTEGER NOT NULL,
  started    INTEGER NOT NULL DEFAULT 0,
  completed  INTEGER NOT NULL DEFAULT 0,
  mode       TEXT NOT NULL,
  dry_run    INTEGER NOT NULL,
  progress   TEXT NOT NULL DEFAULT '{}',        -- JSON: importer.Progress, as it stands or as it ended
  refused_object TEXT NOT NULL DEFAULT '',      -- CSV of the lines refused
  error      TEXT NOT NULL DEFAULT '',
  lease_owner TEXT NOT NULL DEFAULT '',
  lease_until INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX import_jobs_by_list ON import_jobs (list, id);
CREATE INDEX import_jobs_to_do ON import_jobs (list, started) WHERE status = 'PROCESSING';
CREATE INDEX import_jobs_to_retire ON import_jobs (max(uploaded, completed)) WHERE status <> 'PROCESSING' AND object || refused_object <> '';

-- First answers to requests with a client token.
CREATE TABLE client_tokens (
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  operation  TEXT NOT NULL,
  token      TEXT NOT NULL,
  params     BLOB NOT NULL,                     -- digest of the other parameters
  answer     TEXT NOT NULL,                     -- id of what was made
  made       INTEGER NOT NULL,
  PRIMARY KEY (account, region, operation, token)
) WITHOUT ROWID;
CREATE INDEX client_tokens_by_age ON client_tokens (made);

CREATE TABLE access_keys (
  id         TEXT PRIMARY KEY,
  account    TEXT NOT NULL,
  name       TEXT NOT NULL,
  secret     BLOB NOT NULL,                     -- sealed under the key file
  policy     TEXT NOT NULL,
  disabled   INTEGER NOT NULL DEFAULT 0,
  created    INTEGER NOT NULL
) WITHOUT ROWID;

-- What came through a door for events and could not be read as one.
CREATE TABLE rejected_records (
  id         TEXT PRIMARY KEY,                  -- later ones have greater ids
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  door       TEXT NOT NULL,                     -- "firehose", "sns", "eventbridge", "events"
  received   INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  record     BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX rejected_records_by_owner ON rejected_records (account, id);
CREATE UNIQUE INDEX rejected_records_once ON rejected_records (account, region, substr(id, -16)); -- ingest.RejectedDigest

-- What an account has set for itself.
CREATE TABLE account_settings (
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  vdm        TEXT NOT NULL,                     -- JSON: its Virtual Deliverability Manager attributes
  PRIMARY KEY (account, region)
) WITHOUT ROWID;

CREATE TABLE export_jobs (
  n          INTEGER PRIMARY KEY AUTOINCREMENT, -- later ones have greater numbers
  id         TEXT NOT NULL UNIQUE,
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  source     TEXT NOT NULL,
  what       TEXT NOT NULL,                     -- JSON: exporter.Order
  status     TEXT NOT NULL,
  created    INTEGER NOT NULL,
  completed  INTEGER NOT NULL DEFAULT 0,
  progress   TEXT NOT NULL DEFAULT '{}',        -- JSON: exporter.Progress
  error      TEXT NOT NULL DEFAULT '',
  files      TEXT NOT NULL DEFAULT 'null',      -- JSON: exporter.File of each
  lease_owner TEXT NOT NULL DEFAULT '',
  lease_until INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX export_jobs_by_owner ON export_jobs (account, region, n);
CREATE INDEX export_jobs_to_do ON export_jobs (account, lease_until) WHERE status = 'PROCESSING';
CREATE INDEX export_jobs_to_retire ON export_jobs (completed) WHERE files <> 'null';

CREATE TABLE export_schedules (
  n          INTEGER PRIMARY KEY AUTOINCREMENT, -- new with each put; never used twice
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  name       TEXT NOT NULL,
  cron       TEXT NOT NULL,
  what       TEXT NOT NULL,                     -- JSON: exporter.Order, without times
  created    INTEGER NOT NULL,
  next       INTEGER NOT NULL,                  -- when it is due
  until      INTEGER NOT NULL,                  -- where what completed runs were of ends
  last_run   INTEGER NOT NULL,
  last_job   TEXT NOT NULL,                     -- export_jobs.id; '' before the first
  last_until INTEGER NOT NULL,                  -- where what that one is of ends: until, once it is COMPLETED
  UNIQUE (account, region, name)
);
CREATE INDEX export_schedules_due ON export_schedules (next);
CREATE INDEX export_schedules_by_job ON export_schedules (last_job);
