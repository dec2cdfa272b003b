-- Signed checkpoints: what the log has committed itself to in front of others.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,         -- how many rows it is over
    at   INTEGER NOT NULL,            -- milliseconds, UTC: when it was signed
    edge BLOB    NOT NULL,            -- the tree's edge at that size, to prove the next one from
    note TEXT    NOT NULL
) STRICT;
