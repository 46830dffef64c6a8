-- name: message_to_label
SELECT id, seq, author, kind, text, citations, decision FROM messages
WHERE id = %(id)s AND conversation_id = %(conversation_id)s;

-- name: answer_to_message
-- What the bot said to a customer's message: its next words that are more than a holding sentence.
SELECT id, kind, text, citations, decision FROM messages
WHERE conversation_id = %(conversation_id)s AND seq > %(seq)s AND author = 'bot' AND kind IN ('answer', 'clarify', 'handoff')
ORDER BY seq LIMIT 1;

-- name: prediction_of_message
-- Of the model that the customer was answered by.
SELECT p.heads, p.pattern, p.text, p.role, p.model_id, m.fingerprint, m.name
FROM predictions p JOIN models m ON m.id = p.model_id
WHERE p.message_id = %(message_id)s AND p.role <> 'shadow' ORDER BY p.created_at DESC, p.id DESC LIMIT 1;

-- name: artifact_to_label
SELECT f.id, f.kind, f.text, f.original_text, f.confidence, f.model, f.version, f.corrected_by
FROM artifacts f JOIN parts p ON p.id = f.part_id WHERE f.id = %(id)s AND p.message_id = %(message_id)s;

-- name: article_title
SELECT title FROM articles WHERE workspace_id = current_workspace() AND id = %(id)s;

-- name: insert_label
INSERT INTO labels (id, conversation_id, message_id, kind, head, value, said, origin, agent_id)
VALUES (%(id)s, %(conversation_id)s, %(message_id)s, %(kind)s, %(head)s, %(value)s, %(said)s, %(origin)s, %(agent_id)s);

-- name: label
SELECT l.*, a.name AS agent_name FROM labels l LEFT JOIN agents a ON a.id = l.agent_id WHERE l.id = %(id)s;

-- name: labels_of_conversation
SELECT l.*, a.name AS agent_name FROM labels l LEFT JOIN agents a ON a.id = l.agent_id
WHERE l.conversation_id = %(conversation_id)s ORDER BY l.created_at, l.id;

-- name: valid_label
SELECT * FROM valid_labels WHERE message_id = %(message_id)s AND kind = %(kind)s AND head = %(head)s AND value <> 'null';

-- name: second_opinion
-- An agent's own; null where they took it back.
SELECT nullif(value, 'null') FROM labels
WHERE message_id = %(message_id)s AND kind = 'head' AND head = %(head)s AND origin = 'second' AND agent_id = %(agent_id)s
ORDER BY created_at DESC, id DESC LIMIT 1;

-- name: label_counts
-- How many valid labels say what, by head.
SELECT head, value, count(*) AS count FROM valid_labels WHERE kind = 'head' AND value <> 'null' GROUP BY head, value;

-- name: suspect_labelled
-- Somebody has looked at it. Who gives the suspected label otherwise than by a recheck, as an undo does, opens it again.
UPDATE suspects SET done_at = CASE WHEN %(origin)s = 'recheck' OR to_jsonb(given) <> %(value)s THEN now() END
WHERE message_id = %(message_id)s AND head = %(head)s;

-- name: keep_updated_at
-- A label is no news for the inbox.
UPDATE conversations SET updated_at = %(updated_at)s WHERE id = %(id)s;

-- name: intents
SELECT head, name, title FROM intents ORDER BY created_at, name;

-- name: insert_intent
INSERT INTO intents (head, name, title) VALUES (%(head)s, %(name)s, %(title)s)
ON CONFLICT (workspace_id, head, name) DO NOTHING;

-- name: turns_to_label
-- Newest turns whose head has no label, with what the model that answered said of it; one taken back comes again.
SELECT p.message_id, p.model_id, p.heads -> %(head)s AS said FROM predictions p
WHERE p.role <> 'shadow' AND p.heads ? %(head)s AND NOT EXISTS (
    SELECT FROM valid_labels l
    WHERE l.message_id = p.message_id AND l.kind = 'head' AND l.head = %(head)s AND l.value <> 'null')
ORDER BY p.created_at DESC, p.id DESC LIMIT %(limit)s;

-- name: turns_unread
-- The same where no model reads the turns: those that asked something and were answered somehow.
SELECT m.id AS message_id, NULL::uuid AS model_id, '{}'::jsonb AS said FROM (
    SELECT DISTINCT c.id, c.created_at FROM messages b JOIN LATERAL (
        SELECT c.id, c.created_at FROM messages c
        WHERE c.conversation_id = b.conversation_id AND c.author = 'customer' AND c.seq < b.seq
        ORDER BY c.seq DESC LIMIT 1) c ON true
    WHERE b.author = 'bot' AND b.kind IN ('answer', 'clarify', 'handoff')
        AND coalesce(b.decision #>> '{facts,wish}', 'question') = 'question'
        AND coalesce(b.decision ->> 'outcome', 'answer') IN ('answer', 'clarify', 'handoff')) m
WHERE NOT EXISTS (
    SELECT FROM valid_labels l
    WHERE l.message_id = m.id AND l.kind = 'head' AND l.head = %(head)s AND l.value <> 'null')
ORDER BY m.created_at DESC, m.id DESC LIMIT %(limit)s;

-- name: embeddings_of
SELECT message_id, modality, vector FROM embeddings WHERE message_id = ANY(%(ids)s);

-- name: labelled
-- Newest turns that have a label.
SELECT message_id FROM valid_labels WHERE kind = 'head' AND head = %(head)s AND value <> 'null'
ORDER BY created_at DESC LIMIT %(limit)s;

-- name: labelled_count
SELECT count(*) FROM valid_labels WHERE kind = 'head' AND head = %(head)s AND value <> 'null';

-- name: suspects_to_check
-- Labels that the newest training took for wrong, least likely first.
SELECT message_id, given, suggested, confidence FROM suspects
WHERE head = %(head)s AND done_at IS NULL ORDER BY confidence, message_id;

-- name: second_opinions_to_ask
-- A share of what another person labelled, the same turns whoever asks; each once, and never of who has seen it.
SELECT v.message_id FROM valid_labels v
WHERE v.kind = 'head' AND v.head = %(head)s AND v.value <> 'null' AND v.origin IN ('correction', 'review', 'recheck')
    AND v.agent_id IS NOT NULL
    AND ('x' || substr(md5(v.message_id::text), 1, 7))::bit(28)::int < %(share)s * 268435456
    AND NOT EXISTS (
        SELECT FROM labels l WHERE l.message_id = v.message_id AND l.kind = 'head' AND l.head = v.head
            AND (l.origin = 'second' OR l.agent_id = %(agent_id)s))
ORDER BY v.created_at, v.message_id;

-- name: turns_to_show
-- The turn that ends in a message: all the customer wrote since somebody else had.
SELECT m.id AS message_id, m.conversation_id, m.seq, m.created_at, coalesce(p.text, m.text) AS text,
       coalesce(p.language, m.language) AS language, p.pattern, coalesce(p.heads, '{}') AS heads,
       coalesce(t.ids, '[]') AS messages
FROM messages m
LEFT JOIN LATERAL (
    SELECT p.text, p.language, p.pattern, p.heads FROM predictions p
    WHERE p.message_id = m.id AND p.role <> 'shadow' ORDER BY p.created_at DESC, p.id DESC LIMIT 1) p ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(c.id ORDER BY c.seq) AS ids FROM messages c
    WHERE c.conversation_id = m.conversation_id AND c.author = 'customer' AND c.seq <= m.seq AND c.seq > coalesce((
        SELECT max(o.seq) FROM messages o
        WHERE o.conversation_id = m.conversation_id AND o.seq < m.seq AND o.author <> 'customer'
            AND o.kind NOT IN ('holding', 'note', 'notice')), 0)) t ON true
WHERE m.id = ANY(%(ids)s);

-- name: opinion_pairs
-- Second opinions, newest first, with the label that held when each was given, and what was said afterwards.
SELECT s.message_id, s.conversation_id, f.value AS first, s.value AS second, f.agent_id AS first_id,
       s.agent_id AS second_id, fa.name AS first_name, sa.name AS second_name,
       coalesce((SELECT p.text FROM predictions p WHERE p.message_id = s.message_id ORDER BY p.created_at DESC LIMIT 1),
                m.text) AS text,
       (SELECT n.value FROM labels n
        WHERE n.message_id = s.message_id AND n.kind = 'head' AND n.head = s.head AND n.origin <> 'second'
            AND n.created_at > s.created_at
        ORDER BY n.created_at DESC, n.id DESC LIMIT 1) AS settled
FROM labels s JOIN messages m ON m.id = s.message_id
JOIN LATERAL (
    SELECT * FROM labels f
    WHERE f.message_id = s.message_id AND f.kind = 'head' AND f.head = s.head AND f.origin <> 'second'
        AND f.created_at < s.created_at
    ORDER BY f.created_at DESC, f.id DESC LIMIT 1) f ON true
LEFT JOIN agents fa ON fa.id = f.agent_id LEFT JOIN agents sa ON sa.id = s.agent_id
WHERE s.kind = 'head' AND s.head = %(head)s AND s.origin = 'second' AND f.value <> 'null' AND s.value <> 'null'
    AND NOT EXISTS (                           -- who thought again has one opinion
        SELECT FROM labels n
        WHERE n.message_id = s.message_id AND n.kind = 'head' AND n.head = s.head AND n.origin = 'second'
            AND n.agent_id IS NOT DISTINCT FROM s.agent_id AND (n.created_at, n.id) > (s.created_at, s.id))
ORDER BY s.created_at DESC, s.id DESC;

-- name: reply_to_draft
-- A message with the last thing the customer had written before it; two who make a draft of it wait for each other.
SELECT m.conversation_id, m.author, m.kind, m.text, coalesce(m.language, c.language) AS language, (
    SELECT q.text FROM messages q
    WHERE q.conversation_id = m.conversation_id AND q.author = 'customer' AND q.seq < m.seq AND q.text <> ''
    ORDER BY q.seq DESC LIMIT 1) AS asked
FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = %(id)s FOR NO KEY UPDATE OF m;

-- name: draft_of_reply
SELECT id FROM drafts WHERE message_id = %(message_id)s AND state <> 'dismissed' ORDER BY created_at DESC, id LIMIT 1;

-- name: insert_draft
INSERT INTO drafts (id, conversation_id, message_id, language, title, text, pictures, agent_id)
VALUES (%(id)s, %(conversation_id)s, %(message_id)s, %(language)s, %(title)s, %(text)s, %(pictures)s, %(agent_id)s);

-- name: write_draft
INSERT INTO drafts (id, language, title, text, agent_id)
VALUES (%(id)s, %(language)s, %(title)s, %(text)s, %(agent_id)s)
ON CONFLICT (id) DO UPDATE SET
    language = excluded.language, title = excluded.title, text = excluded.text, agent_id = excluded.agent_id,
    updated_at = clock_timestamp(), state = 'draft'
    WHERE (drafts.language, drafts.title, drafts.text) IS DISTINCT FROM (excluded.language, excluded.title, excluded.text);

-- name: draft
SELECT d.*, a.name AS agent_name, coalesce((
    SELECT jsonb_agg(p.picture || jsonb_build_object('mime', b.mime) ORDER BY p.n)
    FROM jsonb_array_elements(d.pictures) WITH ORDINALITY AS p (picture, n)
    JOIN blobs b ON b.workspace_id = d.workspace_id AND b.key = p.picture ->> 'blob'), '[]') AS pictures
FROM drafts d LEFT JOIN agents a ON a.id = d.agent_id WHERE d.id = %(id)s;

-- name: draft_for_update
SELECT state, updated_at FROM drafts WHERE id = %(id)s FOR UPDATE;

-- name: drafts
-- Those on their way first, then the published ones, each newest first; dismissed ones are gone.
SELECT d.*, a.name AS agent_name FROM drafts d LEFT JOIN agents a ON a.id = d.agent_id
WHERE d.state <> 'dismissed' ORDER BY d.state = 'published', d.updated_at DESC, d.id LIMIT %(limit)s;

-- name: draft_published
UPDATE drafts SET state = 'published', article_id = %(article_id)s WHERE id = %(id)s;

-- name: draft_dismissed
UPDATE drafts SET state = 'dismissed', updated_at = now() WHERE id = %(id)s;

-- name: lock_proposals
-- Two runs of discovery, one after the other: the second sees what the first has stored.
SELECT pg_advisory_xact_lock(hashtextextended('proposals ' || current_workspace()::text, 0)) IS NULL AS locked;

-- name: turns_asked
-- Turns that asked something, with what was understood, what a person said it is, and how the bot answered.
WITH answered AS (
    SELECT DISTINCT ON (c.id) c.id AS message_id, c.text AS written, c.created_at, b.kind,
           b.decision ->> 'reason' AS reason, b.decision ->> 'outcome' AS outcome, b.decision #>> '{facts,wish}' AS wish
    FROM messages b JOIN LATERAL (
        SELECT c.id, c.text, c.created_at FROM messages c
        WHERE c.conversation_id = b.conversation_id AND c.author = 'customer' AND c.seq < b.seq
        ORDER BY c.seq DESC LIMIT 1) c ON true
    WHERE b.author = 'bot' AND b.kind IN ('answer', 'clarify', 'handoff')
        AND b.created_at > now() - make_interval(days => %(days)s)
    ORDER BY c.id, b.seq)
SELECT a.message_id, a.kind, a.reason, p.heads -> %(head)s AS said, v.value #>> '{}' AS label,
       coalesce(p.manifest #>> ARRAY['heads', %(head)s, 'out_of_scope'], 'other') AS out_of_scope,
       coalesce(p.text, concat_ws(' ', nullif(a.written, ''), (
           SELECT string_agg(f.text, ' ' ORDER BY q.position) FROM parts q JOIN artifacts f ON f.part_id = q.id
           WHERE q.message_id = a.message_id AND f.kind IN ('transcript', 'ocr', 'document_text')))) AS text
FROM answered a
LEFT JOIN LATERAL (
    SELECT p.heads, p.text, m.manifest FROM predictions p JOIN models m ON m.id = p.model_id
    WHERE p.message_id = a.message_id AND p.role <> 'shadow' ORDER BY p.created_at DESC, p.id DESC LIMIT 1) p ON true
LEFT JOIN valid_labels v ON v.message_id = a.message_id AND v.kind = 'head' AND v.head = %(head)s AND v.value <> 'null'
WHERE coalesce(a.wish, 'question') = 'question'
    AND coalesce(a.outcome, 'answer') IN ('answer', 'clarify', 'handoff')
ORDER BY a.created_at DESC LIMIT %(limit)s;

-- name: proposals_made
SELECT id, kind, state, messages FROM proposals ORDER BY created_at;

-- name: insert_proposal
INSERT INTO proposals (kind, name, terms, messages, cohesion)
VALUES (%(kind)s, %(name)s, %(terms)s, %(messages)s, %(cohesion)s);

-- name: update_proposal
UPDATE proposals SET kind = %(kind)s, name = %(name)s, terms = %(terms)s, messages = %(messages)s, cohesion = %(cohesion)s
WHERE id = %(id)s AND state = 'open' AND messages IS DISTINCT FROM %(messages)s;

-- name: proposals
SELECT p.*, a.name AS agent_name FROM proposals p LEFT JOIN agents a ON a.id = p.agent_id
WHERE %(id)s::uuid IS NULL OR p.id = %(id)s
ORDER BY p.state <> 'open', CASE WHEN p.state = 'open' THEN -jsonb_array_length(p.messages) END,
         p.decided_at DESC, p.created_at DESC, p.id
LIMIT 200;

-- name: turn_texts
-- What the customer said in some turns, in the order they were asked for.
SELECT m.id AS message_id, m.conversation_id, coalesce(p.text, m.text) AS text
FROM jsonb_array_elements_text(%(ids)s) WITH ORDINALITY AS wanted (id, n) JOIN messages m ON m.id = wanted.id::uuid
LEFT JOIN LATERAL (
    SELECT p.text FROM predictions p WHERE p.message_id = m.id AND p.role <> 'shadow'
    ORDER BY p.created_at DESC, p.id DESC LIMIT 1) p ON true
ORDER BY wanted.n;

-- name: proposal_for_update
SELECT * FROM proposals WHERE id = %(id)s FOR UPDATE;

-- name: decide_proposal
UPDATE proposals SET state = %(state)s, became = %(became)s, agent_id = %(agent_id)s, decided_at = now() WHERE id = %(id)s;

-- name: proposal_became
-- The article that an accepted proposal's draft became.
UPDATE proposals SET became = %(article_id)s WHERE kind = 'article' AND became = %(draft_id)s;

-- name: labels_in
-- Those of some turns that have a label already that says what they are.
SELECT v.message_id, v.value #>> '{}' AS name FROM valid_labels v
WHERE v.message_id IN (SELECT given.id::uuid FROM jsonb_array_elements_text(%(ids)s) AS given (id)) AND v.kind = 'head'
    AND v.head = %(head)s AND v.value <> 'null' AND v.value #>> '{}' <> coalesce((
        SELECT d.manifest #>> ARRAY['heads', %(head)s, 'out_of_scope'] FROM predictions p JOIN models d ON d.id = p.model_id
        WHERE p.message_id = v.message_id AND p.role <> 'shadow' ORDER BY p.created_at DESC LIMIT 1), 'other');

-- name: insert_discovered
-- A label of a turn that a proposal holds, with what the model had said of it; turns that are gone are passed over.
INSERT INTO labels (id, conversation_id, message_id, kind, head, value, said, origin, agent_id)
SELECT %(id)s::uuid, m.conversation_id, m.id, 'head', %(head)s, %(value)s,
       jsonb_build_object('proposal', %(proposal)s::text, 'knowledge', NULL, 'answer', NULL, 'prediction', (
           SELECT jsonb_build_object('message_id', p.message_id, 'heads', p.heads, 'pattern', p.pattern, 'text', p.text,
               'model', jsonb_build_object('id', d.id, 'fingerprint', d.fingerprint, 'name', d.name, 'role', p.role))
           FROM predictions p JOIN models d ON d.id = p.model_id
           WHERE p.message_id = m.id AND p.role <> 'shadow' ORDER BY p.created_at DESC, p.id DESC LIMIT 1)),
       'discover', %(agent_id)s
FROM messages m WHERE m.id = %(message_id)s
ON CONFLICT (id) DO NOTHING;
