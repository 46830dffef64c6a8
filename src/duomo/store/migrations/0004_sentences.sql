-- One vector for each sentence of a chunk, which ranking compares with the question: (sentences, 384) float16, row by row.
ALTER TABLE chunks ADD COLUMN sentences bytea;
ALTER TABLE chunks ADD COLUMN sentences_en bytea;
ALTER TABLE chunks ALTER COLUMN sentences SET STORAGE EXTERNAL;     -- numbers do not compress
ALTER TABLE chunks ALTER COLUMN sentences_en SET STORAGE EXTERNAL;
