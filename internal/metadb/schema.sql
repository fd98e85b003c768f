-- The relational store of an embedded Sesame. Times are milliseconds since 1970.

CREATE TABLE lists (
  n          INTEGER PRIMARY KEY AUTOINCREMENT, -- what members say instead of the id; never used twice
  account    TEXT NOT NULL,
  region     TEXT NOT NULL,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  created    INTEGER NOT NULL,
  updated    INTEGER NOT NULL,
  tags       TEXT NOT NULL,                     -- JSON object
  members    INTEGER NOT NULL DEFAULT 0,        -- how many rows of members are its
  kinds      INTEGER NOT NULL DEFAULT 0,        -- address.Kinds that it has held
  UNIQUE (account, region, name)
);
CREATE INDEX lists_by_owner ON lists (account, region, id);

-- Key order is the order in which they are imported and listed.
CREATE TABLE members (
  list       INTEGER NOT NULL,                  -- lists.n
  key        TEXT NOT NULL,                     -- canonical form
  shown      TEXT,                              -- as it is shown, where that is not the key
  created    INTEGER NOT NULL,
  PRIMARY KEY (list, key)
) WITHOUT ROWID;

-- Lists that are gone but whose members still take space.
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
  created    INTEGER NOT NULL,
  started    INTEGER NOT NULL DEFAULT 0,
  completed  INTEGER NOT NULL DEFAULT 0,
  imported   INTEGER NOT NULL DEFAULT 0,
  failed     INTEGER NOT NULL DEFAULT 0,
  lines      INTEGER NOT NULL DEFAULT 0,        -- of the file, once it has been read
  entries    INTEGER NOT NULL DEFAULT 0,        -- different ones applied
  added      INTEGER NOT NULL DEFAULT 0,        -- of those, the ones that were not members
  refused_for TEXT NOT NULL DEFAULT '{}',       -- JSON: lines refused, by reason code
  refused_object TEXT NOT NULL DEFAULT '',      -- CSV of the lines refused
  cursor     TEXT NOT NULL DEFAULT '',          -- greatest key applied
  reserved   INTEGER NOT NULL DEFAULT 0,        -- new members it may still add
  error      TEXT NOT NULL DEFAULT '',
  lease_owner TEXT NOT NULL DEFAULT '',
  lease_until INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX import_jobs_by_list ON import_jobs (list, id);
CREATE INDEX import_jobs_to_do ON import_jobs (list, started) WHERE status = 'PROCESSING';

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
