-- What else a word goes with when that is erased: who said it, or whose unit or account it names.
ALTER TABLE word ADD COLUMN also TEXT;
CREATE INDEX word_also ON word (also) WHERE also IS NOT NULL;
