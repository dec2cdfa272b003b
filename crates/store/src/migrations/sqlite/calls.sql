CREATE TABLE IF NOT EXISTS counter (
    session   BLOB    PRIMARY KEY,
    reserved  INTEGER NOT NULL,
    allowed   INTEGER NOT NULL,
    refused   INTEGER NOT NULL,
    late      INTEGER NOT NULL,
    uncertain INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS call (
    id         INTEGER PRIMARY KEY,
    session    BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    permission TEXT    NOT NULL,
    resource   TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    late       INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS call_session ON call (session, id);
CREATE TABLE IF NOT EXISTS segment (
    segment INTEGER PRIMARY KEY,
    last    INTEGER NOT NULL,
    records INTEGER NOT NULL,
    digest  BLOB    NOT NULL,
    sealed  INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS stop (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    clean INTEGER NOT NULL
) STRICT;
-- Calls over time: at most as many rows a session as it has minutes.
CREATE TABLE IF NOT EXISTS call_minute (
    session BLOB    NOT NULL,
    minute  INTEGER NOT NULL,         -- minutes since 1970, UTC
    allowed INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    PRIMARY KEY (session, minute)
) STRICT, WITHOUT ROWID;
