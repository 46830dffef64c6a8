-- name: article_hashes
SELECT id, content_hash FROM articles WHERE id = ANY(%(ids)s);

-- name: lock_knowledge
-- One writer a workspace: document frequencies are counted up and down by many rows, in no common order.
SELECT pg_advisory_xact_lock(hashtextextended('knowledge ' || current_workspace(), 0));

-- name: subtract_article_terms
UPDATE terms SET df = terms.df - old.df
FROM (
    SELECT lexeme AS token, count(*) AS df FROM chunks, unnest(search) WHERE article_id = %(article)s GROUP BY lexeme
    UNION ALL
    SELECT '~' || lexeme, count(*) FROM chunks, unnest(pinyin) WHERE article_id = %(article)s GROUP BY lexeme
    UNION ALL
    SELECT '', count(*) FROM chunks WHERE article_id = %(article)s
    UNION ALL
    SELECT ' ', coalesce(sum(length(search)), 0) FROM chunks WHERE article_id = %(article)s
) AS old
WHERE terms.token = old.token;

-- name: add_article_terms
INSERT INTO terms (token, df)
SELECT lexeme, count(*) FROM chunks, unnest(search) WHERE article_id = %(article)s GROUP BY lexeme
UNION ALL
SELECT '~' || lexeme, count(*) FROM chunks, unnest(pinyin) WHERE article_id = %(article)s GROUP BY lexeme
UNION ALL
SELECT '', count(*) FROM chunks WHERE article_id = %(article)s
UNION ALL
SELECT ' ', coalesce(sum(length(search)), 0) FROM chunks WHERE article_id = %(article)s
ON CONFLICT (workspace_id, token) DO UPDATE SET df = terms.df + excluded.df;

-- name: delete_unused_terms
DELETE FROM terms WHERE df <= 0;

-- name: delete_article
DELETE FROM articles WHERE id = %(article)s;

-- name: delete_article_chunks
DELETE FROM chunks WHERE article_id = %(article)s;

-- name: delete_article_pictures
DELETE FROM article_pictures WHERE article_id = %(article)s;

-- name: put_article
INSERT INTO articles (id, source, topic, title, language, uri, text, content_hash)
VALUES (%(id)s, %(source)s, %(topic)s, %(title)s, %(language)s, %(uri)s, %(text)s, %(content_hash)s)
ON CONFLICT (workspace_id, id) DO UPDATE SET
    source = excluded.source, topic = excluded.topic, title = excluded.title, language = excluded.language,
    uri = excluded.uri, text = excluded.text, content_hash = excluded.content_hash, updated_at = now()
RETURNING (xmax = 0) AS added;

-- name: insert_chunk
INSERT INTO chunks
    (article_id, position, origin, language, heading, text, picture, search, pinyin,
     embedding, embedding_en, sentences, sentences_en)
VALUES (
    %(article_id)s, %(position)s, %(origin)s, %(language)s, %(heading)s, %(text)s, %(picture)s,
    %(search)s::tsvector, %(pinyin)s::tsvector, %(embedding)s::halfvec(384), %(embedding_en)s::halfvec(384),
    %(sentences)s, %(sentences_en)s
);

-- name: insert_article_picture
INSERT INTO article_pictures (article_id, blob, alt, embedding)
VALUES (%(article_id)s, %(blob)s, %(alt)s, %(embedding)s::halfvec);

-- name: articles_within
SELECT id FROM articles WHERE starts_with(source, %(prefix)s);

-- name: term_frequencies
SELECT token, df FROM terms WHERE token = ANY(%(tokens)s);

-- name: nearest_chunks
SELECT id FROM chunks WHERE workspace_id = current_workspace() AND embedding IS NOT NULL
ORDER BY embedding <#> %(embedding)s::halfvec(384) LIMIT %(limit)s;

-- name: nearest_chunks_en
SELECT id FROM chunks WHERE workspace_id = current_workspace() AND embedding_en IS NOT NULL
ORDER BY embedding_en <#> %(embedding)s::halfvec(384) LIMIT %(limit)s;

-- name: nearest_chunks_exact
-- `+ 0` keeps the planner from the vector index, which finds few rows of a small workspace among many others' rows.
SELECT id FROM chunks WHERE workspace_id = current_workspace() AND embedding IS NOT NULL
ORDER BY (embedding <#> %(embedding)s::halfvec(384)) + 0 LIMIT %(limit)s;

-- name: nearest_chunks_en_exact
SELECT id FROM chunks WHERE workspace_id = current_workspace() AND embedding_en IS NOT NULL
ORDER BY (embedding_en <#> %(embedding)s::halfvec(384)) + 0 LIMIT %(limit)s;

-- name: chunks_with_tokens
SELECT id, score FROM chunks_with_tokens(%(tokens)s::text[], %(weights)s::real[], %(each)s, %(limit)s);

-- name: chunks_with_pinyin
SELECT id, score FROM chunks_with_pinyin(%(tokens)s::text[], %(weights)s::real[], %(each)s, %(limit)s);

-- name: chunk_evidence
-- Everything that ranking compares, for a few hundred candidates at most. `ts_rank` of a single word says how often it
-- stands there. Concatenation unpacks a stored tsvector once for all words.
SELECT c.id::text AS id, c.article_id, c.language, c.topic,
    -(c.embedding <#> %(embedding)s::halfvec(384)) AS cosine,
    -(c.embedding_en <#> %(embedding_en)s::halfvec(384)) AS cosine_en,
    length(c.words) AS lexemes,
    ARRAY(SELECT ts_rank('{1, 1, 1, 1}', c.words, token) FROM unnest(%(tokens)s::tsquery[]) AS token) AS ranks,
    ARRAY(SELECT c.pinyin @@ syllables FROM unnest(%(syllables)s::tsquery[]) AS syllables) AS heard
FROM (
    SELECT chunks.*, articles.topic, search || ''::tsvector AS words
    FROM chunks JOIN articles ON articles.workspace_id = chunks.workspace_id AND articles.id = chunks.article_id
    WHERE chunks.id = ANY(%(ids)s::uuid[])
    OFFSET 0
) AS c;

-- name: chunk_sentences
SELECT id, sentences, CASE WHEN %(english)s THEN sentences_en END AS sentences_en
FROM chunks WHERE id = ANY(%(ids)s::uuid[]);

-- name: chunks_in_all
-- About how many chunks all workspaces have together; -1 before the first statistics.
SELECT reltuples FROM pg_class WHERE oid = 'chunks'::regclass;

-- name: nearest_pictures
SELECT article_id, blob, max(-(embedding <#> %(embedding)s::halfvec)) AS cosine
FROM article_pictures
WHERE workspace_id = current_workspace() AND embedding IS NOT NULL AND vector_dims(embedding) = %(dim)s
GROUP BY article_id, blob ORDER BY cosine DESC LIMIT %(limit)s;

-- name: chunks_expected
SELECT c.id FROM chunks c JOIN articles a ON (a.workspace_id, a.id) = (c.workspace_id, c.article_id)
WHERE coalesce(a.topic, a.id) = ANY(%(topics)s) ORDER BY c.article_id, c.position LIMIT %(limit)s;

-- name: chunks_of_articles
SELECT id FROM chunks WHERE article_id = ANY(%(articles)s);

-- name: translations
SELECT id, topic FROM articles WHERE topic = ANY(%(topics)s) AND language = %(language)s;

-- name: put_lexicon_term
INSERT INTO lexicon (term, pinyin, weight) VALUES (%(term)s, %(pinyin)s, %(weight)s)
ON CONFLICT (workspace_id, term) DO UPDATE SET pinyin = excluded.pinyin, weight = excluded.weight;

-- name: clear_lexicon
DELETE FROM lexicon;

-- name: lexicon_terms
SELECT term, pinyin FROM lexicon WHERE pinyin = ANY(%(keys)s) ORDER BY weight DESC, term;

-- name: article_texts
-- Titles and headings of everything, whole texts as far as `limit` characters go.
SELECT title, CASE WHEN sum(length(text)) OVER (ORDER BY id) <= %(limit)s THEN text
    ELSE array_to_string(ARRAY(SELECT m[1] FROM regexp_matches(text, '^(#{1,6}\s.+)$', 'gn') AS m), E'\n') END AS text
FROM articles ORDER BY id;

-- name: chunk_passages
SELECT c.id::text AS id, c.position, c.origin, c.heading, c.text, c.picture, a.title, a.uri
FROM chunks c JOIN articles a ON a.workspace_id = c.workspace_id AND a.id = c.article_id
WHERE c.id = ANY(%(ids)s::uuid[]);

-- name: begin_import
UPDATE imports SET state = 'running' WHERE id = %(id)s AND state <> 'done' RETURNING files;

-- name: note_import
UPDATE imports SET done = %(done)s, total = %(total)s, added = %(added)s, unchanged = %(unchanged)s,
    updated = %(updated)s, failed = %(failed)s
WHERE id = %(id)s;

-- name: finish_import
UPDATE imports SET state = 'done', files = '[]' WHERE id = %(id)s;

-- name: delete_incoming_blob
-- A file that was also sent elsewhere, or is a picture of an article, stays.
DELETE FROM blobs WHERE key = %(key)s
    AND NOT EXISTS (SELECT FROM parts WHERE %(key)s IN (incoming, blob, original))
    AND NOT EXISTS (SELECT FROM article_pictures WHERE blob = %(key)s)
    AND NOT EXISTS (
        SELECT FROM imports WHERE id <> %(import)s AND files @> jsonb_build_array(jsonb_build_object('blob', %(key)s::text))
    );
