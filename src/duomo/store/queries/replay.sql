-- name: past_turns
-- What the bot said of its own accord, newest first: everything but small talk and the button that calls a person.
SELECT id, conversation_id FROM messages
WHERE author = 'bot' AND kind IN ('answer', 'clarify', 'handoff') AND (decision ? 'facts' OR decision ? 'candidates')
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  AND (%(conversation_id)s::uuid IS NULL OR conversation_id = %(conversation_id)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- name: labels_of_turns
SELECT message_id, kind, head, value FROM valid_labels
WHERE message_id = ANY(%(ids)s) AND kind IN ('head', 'source', 'handoff') AND value <> 'null';

-- name: models_called
-- By id, name, or the beginning of a fingerprint.
SELECT * FROM models WHERE id::text = %(called)s OR name = %(called)s OR starts_with(fingerprint, %(called)s)
ORDER BY created_at DESC LIMIT 2;

-- name: model_with_fingerprint
SELECT * FROM models WHERE fingerprint = %(fingerprint)s;

-- name: articles_then
-- Articles of a version of the knowledge that are gone or were changed since.
SELECT DISTINCT ON (id) id, topic, title, language, uri, text FROM article_history
WHERE since <= %(version)s AND until > %(version)s ORDER BY id, until;

-- name: scratch_workspaces
SELECT id, name FROM workspaces WHERE starts_with(name, %(prefix)s) AND settings = '{"scratch": true}';

-- name: hold_name
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)) AS held;

-- name: make_scratch
INSERT INTO workspaces (name, settings) VALUES (%(name)s, '{"scratch": true}') RETURNING id;

-- name: copy_articles
INSERT INTO articles (workspace_id, id, source, topic, title, language, uri, text, content_hash)
SELECT %(to)s, id, source, topic, title, language, uri, text, content_hash FROM articles
WHERE workspace_id = %(from)s AND (%(version)s::bigint IS NULL OR since <= %(version)s);

-- name: copy_chunks
INSERT INTO chunks (workspace_id, article_id, position, origin, language, heading, text, picture, search, pinyin,
                    embedding, embedding_en, sentences, sentences_en)
SELECT %(to)s, c.article_id, c.position, c.origin, c.language, c.heading, c.text, c.picture, c.search, c.pinyin,
       c.embedding, c.embedding_en, c.sentences, c.sentences_en
FROM chunks c JOIN articles a ON a.workspace_id = %(to)s AND a.id = c.article_id WHERE c.workspace_id = %(from)s;

-- name: copy_article_pictures
INSERT INTO article_pictures (workspace_id, article_id, blob, alt, embedding)
SELECT %(to)s, p.article_id, p.blob, p.alt, p.embedding
FROM article_pictures p JOIN articles a ON a.workspace_id = %(to)s AND a.id = p.article_id
WHERE p.workspace_id = %(from)s;

-- name: count_terms
INSERT INTO terms (workspace_id, token, df)
SELECT %(to)s, lexeme, count(*) FROM chunks, unnest(search) WHERE workspace_id = %(to)s GROUP BY lexeme
UNION ALL
SELECT %(to)s, '~' || lexeme, count(*) FROM chunks, unnest(pinyin) WHERE workspace_id = %(to)s GROUP BY lexeme
UNION ALL
SELECT %(to)s, '', count(*) FROM chunks WHERE workspace_id = %(to)s
UNION ALL
SELECT %(to)s, ' ', coalesce(sum(length(search)), 0) FROM chunks WHERE workspace_id = %(to)s;

-- name: erase_workspace
DELETE FROM workspaces WHERE id = %(id)s;
