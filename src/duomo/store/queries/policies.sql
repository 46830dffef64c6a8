-- name: policy_now
SELECT version, text, note, agent_id, created_at FROM policies ORDER BY version DESC LIMIT 1;

-- name: lock_policies
-- One writer a workspace: versions follow one another without a gap.
SELECT pg_advisory_xact_lock(hashtextextended('policies ' || current_workspace(), 0));

-- name: save_policy
INSERT INTO policies (version, text, note, agent_id) VALUES (%(version)s, %(text)s, %(note)s, %(agent_id)s)
RETURNING version;

-- name: policy_history
SELECT p.version, p.text, p.note, p.created_at, p.agent_id, a.name AS agent_name
FROM policies p LEFT JOIN agents a ON a.id = p.agent_id
ORDER BY p.version DESC;

-- name: policy_now_by
SELECT p.version, p.text, p.note, p.created_at, p.agent_id, a.name AS agent_name
FROM policies p LEFT JOIN agents a ON a.id = p.agent_id ORDER BY p.version DESC LIMIT 1;

-- name: policy_version
SELECT p.version, p.text, p.note, p.created_at, p.agent_id, a.name AS agent_name
FROM policies p LEFT JOIN agents a ON a.id = p.agent_id WHERE p.version = %(version)s;

-- name: policy_turns
-- What the bot did in a period, in the order of each conversation, with the facts that it looked at (none where nothing
-- was decided: small talk, a customer who pressed the button).
SELECT id, conversation_id, seq, kind, created_at, decision -> 'facts' AS facts, decision -> 'policy' AS policy
FROM messages
WHERE author IN ('bot', 'system') AND kind IN ('answer', 'clarify', 'handoff')
  AND created_at >= %(since)s AND created_at < %(until)s
ORDER BY conversation_id, seq;

-- name: policy_questions
-- What the customer had written, said or shown before each of some messages of the bot.
SELECT m.id, coalesce(nullif(q.text, ''), (
    SELECT string_agg(t.text, ' ' ORDER BY f.id) FROM parts f JOIN artifacts t ON t.part_id = f.id
    WHERE f.message_id = q.id AND t.kind IN ('transcript', 'ocr', 'document_text')), '') AS text
FROM messages m JOIN LATERAL (
    SELECT id, text FROM messages b WHERE b.conversation_id = m.conversation_id AND b.seq < m.seq
        AND b.author = 'customer' ORDER BY b.seq DESC LIMIT 1) q ON true
WHERE m.id = ANY(%(ids)s::uuid[]);

-- name: judged_turns
-- Questions that were searched for in a period, and what people said of what the bot did with each: the valid labels of
-- its message and the customer's thumb. `same`: the article that should have been used is the one that was put first.
SELECT m.id, m.conversation_id, m.seq, m.kind, m.created_at, m.feedback, m.decision -> 'facts' AS facts,
       m.decision -> 'policy' AS policy, l.kinds, l.handoff, l.source,
       l.source = m.decision -> 'candidates' -> 0 ->> 'article_id' OR EXISTS (
           SELECT FROM articles a JOIN articles b ON b.topic = a.topic
           WHERE a.id = l.source AND b.id = m.decision -> 'candidates' -> 0 ->> 'article_id') AS same
FROM messages m
LEFT JOIN LATERAL (
    SELECT array_agg(v.kind) AS kinds,
           bool_or(v.value = 'true') FILTER (WHERE v.kind = 'handoff') AS handoff,
           max(v.value #>> '{}') FILTER (WHERE v.kind = 'source') AS source
    FROM valid_labels v
    WHERE v.message_id = m.id AND v.kind IN ('source', 'answer', 'handoff') AND v.value <> 'null') l ON true
WHERE m.author = 'bot' AND m.kind IN ('answer', 'clarify', 'handoff') AND m.decision -> 'facts' ->> 'wish' = 'question'
  AND m.created_at >= %(since)s AND m.created_at < %(until)s
  AND (%(language)s::text IS NULL OR m.decision -> 'facts' ->> 'language' = %(language)s)
ORDER BY m.conversation_id, m.seq;

-- name: known_articles
-- Which of some names are ids or topics of articles.
SELECT DISTINCT name FROM unnest(%(names)s::text[]) AS n (name)
WHERE EXISTS (SELECT FROM articles a WHERE a.id = n.name OR a.topic = n.name);
