-- The log: one row for each accepted command, never updated, never deleted.
CREATE TABLE log (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,          -- milliseconds, UTC
    header TEXT    NOT NULL,          -- canonical, see docs/reference/log-format.md
    parts  BLOB    NOT NULL,          -- the parts with their readers and salts, length-prefixed
    leaf   BLOB    NOT NULL
) STRICT;

-- Words and their salts, apart from the facts so that they can be erased.
CREATE TABLE word (
    seq     INTEGER NOT NULL,
    ix      INTEGER NOT NULL,
    about   TEXT    NOT NULL,
    event   INTEGER NOT NULL,
    salt    BLOB    NOT NULL,
    text    TEXT    NOT NULL,
    also    TEXT,                     -- whose erasure takes it too
    PRIMARY KEY (seq, ix)
) STRICT, WITHOUT ROWID;
CREATE INDEX word_about ON word (about);
CREATE INDEX word_also ON word (also) WHERE also IS NOT NULL;

-- One row: where the log stands.
CREATE TABLE head (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    seq   INTEGER NOT NULL,
    root  BLOB    NOT NULL,
    edge  BLOB    NOT NULL,
    fork  INTEGER NOT NULL
) STRICT;

-- Which rows hold a part for whom.
CREATE TABLE audit_index (
    organisation BLOB    NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (organisation, seq)
) STRICT, WITHOUT ROWID;

-- Secrets that hang on the log: the log says that they changed, never what they are.
CREATE TABLE credential (
    person BLOB PRIMARY KEY,
    hash   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE customer_id (
    organisation BLOB PRIMARY KEY,
    sealed       BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- Of an organisation, or of the unit where it names only one.
CREATE TABLE partner_id (
    party  BLOB PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Projection: every session there ever was, for the history.
CREATE TABLE session_history (
    session     BLOB    PRIMARY KEY,
    grant_id    BLOB    NOT NULL,
    customer    BLOB    NOT NULL,
    provider    BLOB    NOT NULL,
    person      BLOB    NOT NULL,
    mode        TEXT    NOT NULL,
    started     INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    ended       INTEGER,
    cause       TEXT,
    seq         INTEGER NOT NULL,
    name_ix     INTEGER NOT NULL,      -- places among the words of row seq
    email_ix    INTEGER NOT NULL,
    reason_ix   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX session_history_customer ON session_history (customer, started, session);
CREATE INDEX session_history_provider ON session_history (provider, started, session);

-- Signed checkpoints: what the log has committed itself to in front of others.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,         -- how many rows it is over
    at   INTEGER NOT NULL,            -- milliseconds, UTC: when it was signed
    edge BLOB    NOT NULL,            -- the tree's edge at that size, to prove the next one from
    note TEXT    NOT NULL
) STRICT;

-- Private halves of the signing keys, sealed; gone once a key signs nothing more.
CREATE TABLE signing_key (
    kid    BLOB PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Commands that were sent with an Idempotency-Key, and which row each became. No word is in it: what
-- was sent stands here as codes under the installation's key. Kept for a day.
CREATE TABLE command (
    key_hash  BLOB    NOT NULL,
    principal TEXT    NOT NULL,        -- per_…, key_…, sess_…
    route     TEXT    NOT NULL,        -- method and template
    body_hash BLOB    NOT NULL,        -- path, query and body
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,        -- milliseconds, UTC: the row's
    PRIMARY KEY (principal, key_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX command_at ON command (at);

-- Secrets by which recipients of pushes know us, sealed; the log holds their digests.
CREATE TABLE recipient_secret (
    recipient BLOB NOT NULL,
    digest    BLOB NOT NULL,
    sealed    BLOB NOT NULL,
    PRIMARY KEY (recipient, digest)
) STRICT, WITHOUT ROWID;

-- Pushes: which event is told to whom, written with its row. What it says is made when it is sent.
CREATE TABLE outbox (
    recipient BLOB    NOT NULL,
    seq       INTEGER NOT NULL,
    ix        INTEGER NOT NULL,       -- counted among what the recipient reads of the row
    kind      TEXT    NOT NULL,
    at        INTEGER NOT NULL,       -- milliseconds, UTC: when it happened
    queued    INTEGER NOT NULL,       -- then, or when somebody had it sent again
    status    INTEGER NOT NULL,       -- 0 waits, 1 delivered, 2 dead
    attempts  INTEGER NOT NULL,
    due       INTEGER NOT NULL,       -- when it is tried next; while it is tried, until when it is somebody's
    code      INTEGER,                -- the last answer's status
    problem   TEXT,                   -- why the last try failed: one of our own words
    done      INTEGER,                -- when it was delivered or given up
    PRIMARY KEY (recipient, seq, ix)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_waiting ON outbox (recipient, due, seq, ix) WHERE status = 0;
CREATE INDEX outbox_done ON outbox (done) WHERE status <> 0;

-- Recipients that have taken nothing for a while.
CREATE TABLE recipient_failing (
    recipient BLOB    PRIMARY KEY,
    since     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Projection: what stands in each organisation's inbox, written with its row. Facts only.
CREATE TABLE notice (
    organisation BLOB    NOT NULL,
    seq          INTEGER NOT NULL,
    ix           INTEGER NOT NULL,    -- counted among the row's notices to this organisation
    kind         TEXT    NOT NULL,
    side         TEXT    NOT NULL,    -- customer, provider, own
    at           INTEGER NOT NULL,    -- milliseconds, UTC: when it happened
    request      BLOB,
    grant_id     BLOB,
    session      BLOB,
    person       BLOB,
    other        BLOB,                -- the other side, where this one may know it
    ends         INTEGER,             -- milliseconds, UTC: when the grant ends
    count        INTEGER NOT NULL,    -- how many of the same it stands for
    mail         INTEGER NOT NULL,    -- 1: mails go out too
    invitation   BLOB,
    PRIMARY KEY (organisation, seq, ix)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_mail ON notice (seq, organisation, ix) WHERE mail = 1;
CREATE INDEX notice_at ON notice (at);

-- Up to which row a person has read an organisation's inbox, and what of the later ones.
CREATE TABLE notice_read (
    organisation BLOB    NOT NULL,
    person       BLOB    NOT NULL,
    upto         INTEGER NOT NULL,
    PRIMARY KEY (organisation, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE notice_seen (
    organisation BLOB    NOT NULL,
    person       BLOB    NOT NULL,
    seq          INTEGER NOT NULL,
    ix           INTEGER NOT NULL,
    PRIMARY KEY (organisation, person, seq, ix)
) STRICT, WITHOUT ROWID;

-- Mails: one for each notice and person. Whose address it is and what it says is made when it is sent.
CREATE TABLE mail (
    organisation BLOB    NOT NULL,
    seq          INTEGER NOT NULL,
    ix           INTEGER NOT NULL,
    person       BLOB    NOT NULL,
    queued       INTEGER NOT NULL,    -- milliseconds, UTC: when it happened
    status       INTEGER NOT NULL,    -- 0 waits, 1 taken by the relay, 2 dead
    attempts     INTEGER NOT NULL,
    due          INTEGER NOT NULL,    -- when it is tried next; while it is tried, until when it is somebody's
    code         INTEGER,             -- the relay's last reply
    problem      TEXT,                -- why the last try failed: one of our own words
    done         INTEGER,             -- when it was taken or given up
    PRIMARY KEY (organisation, seq, ix, person)
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_waiting ON mail (due, seq, organisation, ix, person) WHERE status = 0;
CREATE INDEX mail_done ON mail (done) WHERE status <> 0;
CREATE INDEX mail_person ON mail (person);

-- One row, once mails are sent: up to which notice they were queued.
CREATE TABLE mail_cursor (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    seq          INTEGER NOT NULL,
    organisation BLOB    NOT NULL,
    ix           INTEGER NOT NULL
) STRICT;
-- Addresses that are told no more, until they have heard of it.
CREATE TABLE farewell (
    recipient  BLOB    NOT NULL,
    seq        INTEGER NOT NULL,      -- of the row that says so
    owner      BLOB,                  -- the organisation; the platform without one
    kind       TEXT    NOT NULL,
    url        TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    sealed     BLOB    NOT NULL,      -- the secret that signs
    old_digest BLOB,
    old_sealed BLOB,                  -- the one before, if it signs too
    at         INTEGER NOT NULL,      -- milliseconds, UTC: the row's
    attempts   INTEGER NOT NULL,
    due        INTEGER NOT NULL,      -- when it is tried next
    PRIMARY KEY (recipient, seq)
) STRICT, WITHOUT ROWID;

-- What people prove with beside a password: the secret of an app that shows codes, the public key of a
-- passkey. Sealed; the log holds the digests.
CREATE TABLE factor (
    person BLOB NOT NULL,
    factor BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (person, factor)
) STRICT, WITHOUT ROWID;
