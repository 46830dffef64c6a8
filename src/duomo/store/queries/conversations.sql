-- name: insert_conversation
INSERT INTO conversations (id, contact_id, language, channel)
VALUES (%(id)s, %(contact_id)s, %(language)s, %(channel)s)
ON CONFLICT (id) DO NOTHING
RETURNING *;

-- name: conversation
SELECT * FROM conversations WHERE id = %(id)s;

-- name: conversation_for_update
SELECT * FROM conversations WHERE id = %(id)s FOR UPDATE;

-- name: set_status
-- Everything that goes with a status; what an action does not touch is passed back as it was.
UPDATE conversations SET
    status = %(status)s, assignee_id = %(assignee_id)s, handoff_reason = %(handoff_reason)s, brief = %(brief)s,
    waiting_since = CASE WHEN %(waiting)s THEN coalesce(waiting_since, now()) END,
    snoozed_until = %(snoozed_until)s, failures = %(failures)s, updated_at = now(),
    opened_at = CASE WHEN %(status)s = 'open' THEN coalesce(opened_at, now()) ELSE opened_at END,
    resolved_at = CASE WHEN %(status)s = 'resolved' AND status <> 'resolved' THEN now() ELSE resolved_at END,
    opened_reason = CASE WHEN %(status)s = 'open' AND opened_at IS NULL THEN %(handoff_reason)s ELSE opened_reason END,
    called_at = CASE WHEN %(status)s = 'open' AND status NOT IN ('open', 'snoozed') THEN now() ELSE called_at END,
    reopened_at = CASE WHEN %(status)s <> 'resolved' AND status = 'resolved'  -- or a person came after a "thank you"
            OR %(status)s = 'open' AND resolved_at > coalesce(reopened_at, '-infinity') THEN now() ELSE reopened_at END
WHERE id = %(id)s;

-- name: set_team
-- Whom it was handed over to; who asks again does not make it less urgent.
UPDATE conversations SET team = coalesce(%(team)s, team), priority = CASE
    WHEN %(again)s AND array_position(ARRAY['low', 'normal', 'high', 'urgent'], priority)
        > array_position(ARRAY['low', 'normal', 'high', 'urgent'], %(priority)s::text)
    THEN priority ELSE %(priority)s END
WHERE id = %(id)s;

-- name: set_waiting
UPDATE conversations SET waiting_since = CASE WHEN %(waiting)s THEN coalesce(waiting_since, now()) END WHERE id = %(id)s;

-- name: set_assignee
UPDATE conversations SET assignee_id = %(assignee_id)s, updated_at = now() WHERE id = %(id)s;

-- name: set_answered
UPDATE conversations SET answered_seq = greatest(answered_seq, %(seq)s), failures = %(failures)s WHERE id = %(id)s;

-- name: set_language
UPDATE conversations SET language = %(language)s WHERE id = %(id)s;

-- name: skip_answered_by_agents
-- What came before an agent's last reply has been dealt with: the bot starts after it.
UPDATE conversations SET answered_seq = greatest(answered_seq, (
    SELECT max(seq) FROM messages WHERE conversation_id = %(id)s AND author = 'agent' AND kind <> 'note'))
WHERE id = %(id)s;

-- name: store_csat
-- A good rating confirms that it helped; a worse one takes that back, unless an answer has been praised.
UPDATE conversations c SET csat_score = %(score)s, csat_comment = %(comment)s, updated_at = now(),
    confirmed_at = CASE
        WHEN %(score)s >= 4 THEN now()
        WHEN EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id AND m.feedback = 'up' AND m.kind = 'answer')
        THEN confirmed_at
    END
WHERE id = %(id)s;

-- name: agent_name
SELECT name FROM agents WHERE id = %(id)s;

-- name: message_fingerprint
SELECT conversation_id, author, fingerprint FROM messages WHERE id = %(id)s;

-- name: insert_message
-- The conversation's row is locked by the caller, so last_seq + 1 is the number append_event takes.
WITH stored AS (
    INSERT INTO messages (id, conversation_id, seq, author, kind, agent_id, text, language, citations, options, decision,
                          fingerprint, search)
    SELECT %(id)s, c.id, c.last_seq + 1, %(author)s, %(kind)s, %(agent_id)s, %(text)s, %(language)s, %(citations)s,
           %(options)s, %(decision)s, %(fingerprint)s, %(tokens)s::tsvector
    FROM conversations c WHERE c.id = %(conversation_id)s
    RETURNING id, conversation_id)
SELECT append_event(conversation_id, 'message', id, '{}', %(private)s) FROM stored;

-- name: set_decision
UPDATE messages SET decision = %(decision)s WHERE id = %(id)s;

-- name: append_event
SELECT append_event(%(conversation_id)s, %(kind)s, %(message_id)s, %(data)s, %(private)s);

-- name: insert_part
INSERT INTO parts (message_id, position, kind, mime, name, incoming)
VALUES (%(message_id)s, %(position)s, %(kind)s, %(mime)s, %(name)s, %(incoming)s)
RETURNING id;

-- name: context_begins
-- After which sequence number the last messages up to another one begin.
SELECT coalesce((
    SELECT seq FROM messages WHERE conversation_id = %(id)s AND seq <= %(upto)s
    ORDER BY seq DESC OFFSET %(messages)s LIMIT 1), 0);

-- name: messages
-- Messages with their files and what was read in them, one row each, oldest first.
SELECT m.id, m.conversation_id, m.seq, m.author, m.kind, m.text, m.created_at, m.language, m.agent_id, a.name AS agent_name,
       m.citations, m.options, m.decision, m.feedback,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
               'id', p.id, 'kind', p.kind, 'state', p.state, 'mime', p.mime, 'name', p.name, 'blob', p.blob,
               'width', p.width, 'height', p.height, 'duration_s', p.duration_s, 'error', p.error,
               'artifacts', coalesce((
                   SELECT jsonb_agg(jsonb_build_object(
                       'id', f.id, 'kind', f.kind, 'text', f.text, 'original_text', f.original_text,
                       'confidence', f.confidence, 'model', f.model, 'version', f.version,
                       'duration_ms', f.duration_ms, 'data', f.data, 'corrected_by', f.corrected_by)
                       ORDER BY f.created_at, f.id)
                   FROM artifacts f WHERE f.part_id = p.id), '[]'))
               ORDER BY p.position)
           FROM parts p WHERE p.message_id = m.id), '[]') AS parts
FROM messages m LEFT JOIN agents a ON a.id = m.agent_id
WHERE m.conversation_id = %(conversation_id)s AND (%(ids)s::uuid[] IS NULL OR m.id = ANY(%(ids)s::uuid[]))
  AND m.seq > %(after)s
ORDER BY m.seq;

-- name: events_after
SELECT seq, kind, message_id, data, private FROM events
WHERE conversation_id = %(conversation_id)s AND seq > %(after)s AND (%(include_private)s OR NOT private)
ORDER BY seq LIMIT %(limit)s;

-- name: answered_by_another
-- The first public reply of another agent that this one has not seen.
SELECT a.name FROM messages m JOIN agents a ON a.id = m.agent_id
WHERE m.conversation_id = %(conversation_id)s AND m.seq > %(after)s AND m.author = 'agent' AND m.kind <> 'note'
  AND m.agent_id <> %(agent_id)s
ORDER BY m.seq LIMIT 1;

-- name: artifact_for_update
SELECT f.id, f.kind, f.text, p.message_id, m.author, m.seq
FROM artifacts f JOIN parts p ON p.id = f.part_id JOIN messages m ON m.id = p.message_id
WHERE f.id = %(id)s AND m.conversation_id = %(conversation_id)s
FOR UPDATE OF f;

-- name: correct_artifact
UPDATE artifacts SET original_text = coalesce(original_text, text), text = %(text)s, corrected_by = %(by)s,
    corrected_at = now(), search = %(tokens)s::tsvector
WHERE id = %(id)s;

-- name: set_feedback
-- Returns whether it changed. Praise of any answer confirms that the conversation helped, until it is taken back.
WITH changed AS (
    UPDATE messages SET feedback = %(value)s
    WHERE id = %(id)s AND conversation_id = %(conversation_id)s AND author = 'bot'
      AND feedback IS DISTINCT FROM %(value)s
    RETURNING conversation_id, kind)
UPDATE conversations c SET confirmed_at = CASE
        WHEN %(value)s::text = 'up' AND changed.kind = 'answer' THEN now()
        WHEN c.csat_score >= 4 OR EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id
            AND m.feedback = 'up' AND m.kind = 'answer' AND m.id <> %(id)s::uuid) THEN c.confirmed_at
    END
FROM changed WHERE c.id = changed.conversation_id;

-- name: has_message
SELECT author FROM messages WHERE id = %(id)s AND conversation_id = %(conversation_id)s;

-- name: conversation_and_settings
SELECT c.*, w.settings FROM conversations c JOIN workspaces w ON w.id = c.workspace_id WHERE c.id = %(id)s;

-- name: part_embeddings
SELECT embedding::text AS embedding FROM parts WHERE message_id = ANY(%(message_ids)s) AND embedding IS NOT NULL
ORDER BY message_id, position;

-- name: part_to_perceive
SELECT p.id, p.message_id, p.kind, p.state, p.mime, p.name, p.incoming, m.conversation_id, m.author,
       coalesce(m.language, c.language) AS language, w.settings
FROM parts p JOIN messages m ON m.id = p.message_id JOIN conversations c ON c.id = m.conversation_id
     JOIN workspaces w ON w.id = p.workspace_id
WHERE p.id = %(id)s;

-- name: part_state
SELECT state FROM parts WHERE id = %(id)s;

-- name: make_part_ready
UPDATE parts SET state = 'ready', mime = %(mime)s, blob = %(blob)s, width = %(width)s, height = %(height)s,
    duration_s = %(duration_s)s, embedding = %(embedding)s::halfvec, original = %(original)s, incoming = NULL
WHERE id = %(id)s;

-- name: refuse_part
UPDATE parts SET state = 'refused', error = %(error)s, incoming = NULL WHERE id = %(id)s;

-- name: parts_left
SELECT count(*) FROM parts WHERE message_id = %(message_id)s AND state = 'received';

-- name: insert_artifact
INSERT INTO artifacts (part_id, kind, text, original_text, confidence, model, version, duration_ms, data, search)
VALUES (%(part_id)s, %(kind)s, %(text)s, %(original_text)s, %(confidence)s, %(model)s, %(version)s, %(duration_ms)s,
        %(data)s, %(tokens)s::tsvector);

-- name: workspace_ids
SELECT id FROM workspaces;

-- name: delete_unused_blobs
-- Rows that nothing names any more; the files follow in the same sweep.
DELETE FROM blobs b WHERE created_at < now() - make_interval(secs => %(older_than_s)s) AND key NOT IN (
    SELECT incoming FROM parts WHERE incoming IS NOT NULL UNION SELECT blob FROM parts WHERE blob IS NOT NULL
    UNION SELECT original FROM parts WHERE original IS NOT NULL
    UNION SELECT picture FROM chunks WHERE picture IS NOT NULL UNION SELECT blob FROM article_pictures
    UNION SELECT picture ->> 'blob' FROM drafts, jsonb_array_elements(pictures) AS picture WHERE state <> 'dismissed'
    UNION SELECT file ->> 'blob' FROM imports, jsonb_array_elements(files) AS file WHERE file ? 'blob');

-- name: blob_keys
SELECT key FROM blobs;

-- name: delete_old_deltas
-- The whole message stands in its own row; the pieces it was shown in are of no use to anybody.
DELETE FROM events WHERE kind IN ('delta', 'turn') AND created_at < now() - make_interval(secs => %(older_than_s)s);

-- name: workspace_settings
SELECT settings FROM workspaces WHERE id = current_workspace();

-- name: passages_to_warm
SELECT a.title, c.text, c.language FROM chunks c
JOIN articles a ON a.workspace_id = c.workspace_id AND a.id = c.article_id
WHERE c.workspace_id = current_workspace() ORDER BY c.article_id, c.position LIMIT %(limit)s;
