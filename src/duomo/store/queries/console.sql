-- name: summaries
-- The inbox: conversations as an agent sees them, from a cursor on: of those that wait for people the most urgent first,
-- then the most recently changed.
SELECT c.id, c.status, c.team, c.priority, rank.urgency, c.language, c.channel, c.last_seq, c.waiting_since, c.snoozed_until, c.handoff_reason,
       c.csat_score, c.csat_comment, c.created_at, c.updated_at,
       c.contact_id, p.name AS contact_name, p.language AS contact_language,
       c.assignee_id, a.name AS assignee_name,
       m.author AS last_author, m.kind AS last_kind, m.text AS last_text, m.created_at AS last_at,
       (SELECT count(*) FROM messages u WHERE u.conversation_id = c.id AND u.author = 'customer'
            AND u.seq > coalesce(r.seq, 0)) AS unread,
       (SELECT coalesce(jsonb_agg(DISTINCT f.kind), '[]') FROM parts f JOIN messages n ON n.id = f.message_id
            WHERE n.conversation_id = c.id) AS media
FROM conversations c
JOIN contacts p ON p.id = c.contact_id
CROSS JOIN LATERAL (SELECT CASE WHEN c.status = 'open'
                           THEN array_position(ARRAY['low', 'normal', 'high', 'urgent'], c.priority) ELSE 0 END AS urgency) rank
LEFT JOIN agents a ON a.id = c.assignee_id
LEFT JOIN reads r ON r.conversation_id = c.id AND r.agent_id = %(agent_id)s
LEFT JOIN LATERAL (SELECT author, kind, text, created_at FROM messages l WHERE l.conversation_id = c.id
                   ORDER BY l.seq DESC LIMIT 1) m ON true
WHERE (%(id)s::uuid IS NULL OR c.id = %(id)s)
  AND (%(status)s::text IS NULL OR c.status = %(status)s)
  AND (%(language)s::text IS NULL OR c.language = %(language)s)
  AND (%(team)s::text IS NULL OR c.team = %(team)s)
  AND (%(mine)s IS NOT TRUE OR c.assignee_id = %(agent_id)s)
  AND (%(unassigned)s IS NOT TRUE OR c.assignee_id IS NULL)
  AND (%(unread)s IS NOT TRUE OR EXISTS (SELECT FROM messages u WHERE u.conversation_id = c.id AND u.author = 'customer'
            AND u.seq > coalesce(r.seq, 0)))
  AND (%(wanted)s::text IS NULL
       OR p.name ILIKE %(name_like)s
       OR EXISTS (SELECT FROM messages s WHERE s.conversation_id = c.id
            AND s.search @@ %(wanted)s::tsquery)
       OR EXISTS (SELECT FROM messages s JOIN parts f ON f.message_id = s.id JOIN artifacts t ON t.part_id = f.id
            WHERE s.conversation_id = c.id AND t.search @@ %(wanted)s::tsquery))
  AND (%(before)s::timestamptz IS NULL
       OR (rank.urgency, c.updated_at, c.id) < (%(before_urgency)s, %(before)s, %(before_id)s::uuid))
ORDER BY rank.urgency DESC, c.updated_at DESC, c.id DESC
LIMIT %(limit)s;

-- name: inbox_counts
SELECT count(*) FILTER (WHERE c.status = 'open') AS open,
       count(*) FILTER (WHERE c.status = 'pending') AS pending,
       count(*) FILTER (WHERE c.status = 'snoozed') AS snoozed,
       count(*) FILTER (WHERE c.status = 'resolved') AS resolved,
       count(*) FILTER (WHERE c.status <> 'resolved' AND c.assignee_id = %(agent_id)s) AS mine,
       count(*) FILTER (WHERE c.status <> 'resolved' AND c.assignee_id IS NULL) AS unassigned,
       count(*) FILTER (WHERE c.status <> 'resolved' AND EXISTS (
           SELECT FROM messages u WHERE u.conversation_id = c.id AND u.author = 'customer'
               AND u.seq > coalesce(r.seq, 0))) AS unread
FROM conversations c LEFT JOIN reads r ON r.conversation_id = c.id AND r.agent_id = %(agent_id)s;

-- name: conversation_brief
SELECT status, brief FROM conversations WHERE id = %(id)s;

-- name: mark_read
INSERT INTO reads (conversation_id, agent_id, seq)
SELECT id, %(agent_id)s, least(%(seq)s, last_seq) FROM conversations WHERE id = %(conversation_id)s
ON CONFLICT (conversation_id, agent_id) DO UPDATE SET seq = excluded.seq WHERE reads.seq < excluded.seq;

-- name: touch_presence
-- Returns whether somebody came; a mere sign of life changes nothing that others see.
INSERT INTO presence AS p (conversation_id, agent_id) VALUES (%(conversation_id)s, %(agent_id)s)
ON CONFLICT (conversation_id, agent_id) DO UPDATE SET seen_at = now()
RETURNING (xmax = 0) AS came;

-- name: set_typing
INSERT INTO presence (conversation_id, agent_id, typing_until)
VALUES (%(conversation_id)s, %(agent_id)s, CASE WHEN %(typing)s THEN now() + interval '15 seconds' END)
ON CONFLICT (conversation_id, agent_id) DO UPDATE SET seen_at = now(), typing_until = excluded.typing_until;

-- name: leave_presence
DELETE FROM presence WHERE conversation_id = %(conversation_id)s AND agent_id = %(agent_id)s;

-- name: presence
SELECT a.id, a.name, coalesce(p.typing_until > now(), false) AS typing
FROM presence p JOIN agents a ON a.id = p.agent_id
WHERE p.conversation_id = %(conversation_id)s AND p.seen_at > now() - interval '40 seconds'
ORDER BY a.name, a.id;

-- name: notify_conversation
-- A hint that something outside the events changed: presence, or what an agent has read.
SELECT pg_notify('duomo', format('%%s %%s 0', current_workspace(), %(conversation_id)s::uuid));

-- name: canned_replies
SELECT id, shortcut, title, text FROM canned_replies ORDER BY shortcut;

-- name: upsert_canned_reply
INSERT INTO canned_replies (id, shortcut, title, text) VALUES (%(id)s, %(shortcut)s, %(title)s, %(text)s)
ON CONFLICT (id) DO UPDATE SET shortcut = excluded.shortcut, title = excluded.title, text = excluded.text
RETURNING id, shortcut, title, text;

-- name: delete_canned_reply
DELETE FROM canned_replies WHERE id = %(id)s;

-- name: search_messages
-- In what was written, and in what was read or heard in files; newest first.
SELECT m.conversation_id, m.id AS message_id, m.author, m.created_at, m.text
FROM messages m WHERE m.search @@ %(wanted)s::tsquery
UNION ALL
SELECT m.conversation_id, m.id, m.author, m.created_at, t.text
FROM artifacts t JOIN parts f ON f.id = t.part_id JOIN messages m ON m.id = f.message_id
WHERE t.search @@ %(wanted)s::tsquery
ORDER BY created_at DESC, message_id
LIMIT %(limit)s;

-- name: part_of_blob
-- Who asks for a file must name a conversation that shows it.
SELECT p.mime, p.name, p.kind FROM parts p JOIN messages m ON m.id = p.message_id
WHERE m.conversation_id = %(conversation_id)s AND p.blob = %(key)s LIMIT 1;

-- name: knowledge_picture
SELECT b.mime FROM blobs b WHERE b.key = %(key)s
  AND (EXISTS (SELECT FROM article_pictures WHERE blob = %(key)s) OR EXISTS (SELECT FROM chunks WHERE picture = %(key)s)
       OR EXISTS (SELECT FROM drafts WHERE pictures @> jsonb_build_array(jsonb_build_object('blob', %(key)s::text))));

-- name: knowledge_page
SELECT a.id, a.title, a.language, a.uri, a.updated_at,
       (SELECT count(*) FROM chunks c WHERE c.workspace_id = a.workspace_id AND c.article_id = a.id) AS chunks,
       (SELECT count(*) FROM article_pictures p WHERE p.workspace_id = a.workspace_id AND p.article_id = a.id) AS pictures
FROM articles a
WHERE (%(like)s::text IS NULL OR a.title ILIKE %(like)s OR a.uri ILIKE %(like)s OR a.text ILIKE %(like)s)
  AND (%(after_title)s::text IS NULL OR (a.title, a.id) > (%(after_title)s, %(after_id)s))
ORDER BY a.title, a.id LIMIT %(limit)s;

-- name: knowledge_totals
SELECT (SELECT count(*) FROM articles) AS articles, (SELECT count(*) FROM chunks) AS chunks;

-- name: article_page
SELECT id, title, language, uri, text FROM articles WHERE id = %(id)s;

-- name: article_page_pictures
SELECT blob, alt FROM article_pictures WHERE article_id = %(id)s ORDER BY id;

-- name: start_import
INSERT INTO imports (total, files) VALUES (%(total)s, %(files)s) RETURNING id;

-- name: import_state
SELECT state, done, total, added, unchanged, updated, failed FROM imports WHERE id = %(id)s;

-- name: queue_counts
SELECT queue_name AS name, count(*) FILTER (WHERE status = 'todo') AS waiting,
       count(*) FILTER (WHERE status = 'doing') AS running, count(*) FILTER (WHERE status = 'failed') AS failed
FROM procrastinate_jobs WHERE status IN ('todo', 'doing', 'failed') GROUP BY queue_name;

-- name: worker_alive
SELECT EXISTS (SELECT FROM procrastinate_workers WHERE last_heartbeat > now() - interval '30 seconds') AS alive;

-- name: insert_question
INSERT INTO questions (kind, query) VALUES (%(kind)s, %(asked)s) RETURNING id;

-- name: question
SELECT id, kind, query, answer, error FROM questions WHERE id = %(id)s;

-- name: answer_question
-- Stores what the worker found and wakes who waits for it.
WITH told AS (
    UPDATE questions SET answer = %(answer)s, error = %(error)s WHERE id = %(id)s RETURNING id, workspace_id)
SELECT pg_notify('duomo', format('%%s %%s 0', workspace_id, id)) FROM told;

-- name: delete_question
DELETE FROM questions WHERE id = %(id)s OR created_at < now() - interval '1 hour';
