-- Vectors of 770 bytes stay in the row: comparing candidates should not fetch each from the side table.
ALTER TABLE chunks ALTER COLUMN embedding SET STORAGE PLAIN;
ALTER TABLE chunks ALTER COLUMN embedding_en SET STORAGE PLAIN;
CREATE INDEX ON lexicon (workspace_id, pinyin);
