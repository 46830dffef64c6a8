-- name: lock_models
-- Whoever changes which model answers does so one after the other; new rows that name the workspace need not wait.
SELECT id FROM workspaces WHERE id = current_workspace() FOR NO KEY UPDATE;

-- name: insert_model
INSERT INTO models (fingerprint, name, origin, manifest, samples, reference, agent_id)
VALUES (%(fingerprint)s, %(name)s, %(origin)s, %(manifest)s, %(samples)s, %(reference)s, %(agent_id)s)
ON CONFLICT (workspace_id, fingerprint) DO UPDATE SET
    samples = coalesce(excluded.samples, models.samples), reference = coalesce(excluded.reference, models.reference)
RETURNING *;

-- name: model
SELECT * FROM models WHERE id = %(id)s;

-- name: models_now
-- The deployments that run, with their models: at most one of each role.
SELECT d.id AS deployment_id, d.role, d.share, d.began_at, d.began_by, d.reason,
       m.id, m.workspace_id, m.fingerprint, m.name, m.origin, m.manifest, m.samples, m.agent_id, m.created_at
FROM deployments d JOIN models m ON m.id = d.model_id WHERE d.ended_at IS NULL;

-- name: begin_deployment
INSERT INTO deployments (model_id, role, share, began_by, agent_id, reason)
VALUES (%(model_id)s, %(role)s, %(share)s, %(by)s, %(agent_id)s, %(reason)s)
RETURNING *;

-- name: end_deployment
UPDATE deployments SET ended_at = now(), ended_by = %(by)s, ended_reason = %(reason)s
WHERE role = %(role)s AND ended_at IS NULL;

-- name: deployments
-- Newest first.
SELECT d.*, m.name, m.fingerprint, m.origin, a.name AS agent_name
FROM deployments d JOIN models m ON m.id = d.model_id LEFT JOIN agents a ON a.id = d.agent_id
ORDER BY d.began_at DESC, d.id DESC LIMIT %(limit)s;

-- name: insert_prediction
INSERT INTO predictions (conversation_id, message_id, model_id, role, heads, pattern, language, text, duration_ms)
VALUES (%(conversation_id)s, %(message_id)s, %(model_id)s, %(role)s, %(heads)s, %(pattern)s, %(language)s, %(text)s,
        %(duration_ms)s)
ON CONFLICT (message_id, model_id) DO UPDATE SET
    role = excluded.role, heads = excluded.heads, pattern = excluded.pattern, language = excluded.language,
    text = excluded.text, duration_ms = excluded.duration_ms;

-- name: put_embedding
INSERT INTO embeddings (message_id, modality, vector) VALUES (%(message_id)s, %(modality)s, %(vector)s::halfvec)
ON CONFLICT (message_id, modality) DO UPDATE SET vector = excluded.vector;

-- name: put_part_view
INSERT INTO part_views (part_id, view, version, vector) VALUES (%(part_id)s, %(view)s, %(version)s, %(vector)s)
ON CONFLICT (part_id, view) DO UPDATE SET version = excluded.version, vector = excluded.vector;

-- name: part_views
-- What was made of the files of some messages, in the order of the files.
SELECT p.id AS part_id, p.kind, v.view, v.version, v.vector
FROM parts p LEFT JOIN part_views v ON v.part_id = p.id JOIN messages m ON m.id = p.message_id
WHERE p.message_id = ANY(%(message_ids)s) AND p.state = 'ready' AND p.kind IN ('image', 'audio')
ORDER BY m.seq, p.position;

-- name: knowledge_version
SELECT version FROM knowledge_versions WHERE workspace_id = current_workspace();

-- name: models
-- Newest first, with the roles they have.
SELECT m.*, a.name AS agent_name,
       (SELECT jsonb_agg(d.role) FROM deployments d WHERE d.model_id = m.id AND d.ended_at IS NULL) AS roles
FROM models m LEFT JOIN agents a ON a.id = m.agent_id
ORDER BY m.created_at DESC, m.id DESC LIMIT %(limit)s;

-- name: last_rollback
-- When a model was last taken back for what it did, and whether an owner has used it since.
SELECT max(ended_at) AS taken_back_at,
       max(began_at) FILTER (WHERE began_by = 'agent') > max(ended_at) FILTER (WHERE ended_by = 'rollback') AS insisted
FROM deployments WHERE model_id = %(model_id)s
HAVING bool_or(ended_by = 'rollback');

-- name: active_before
-- The other models that were active and whether they were taken back for what they did; latest first.
SELECT d.model_id, m.name, m.fingerprint, max(d.ended_at) AS until,
       EXISTS (SELECT FROM deployments r WHERE r.model_id = d.model_id AND r.ended_by = 'rollback') AS taken_back
FROM deployments d JOIN models m ON m.id = d.model_id
WHERE d.role = 'active' AND d.ended_at IS NOT NULL AND d.model_id <> %(model_id)s
GROUP BY d.model_id, m.name, m.fingerprint ORDER BY until DESC;

-- name: live_figures
-- What happened in the conversations of a model's latest turns; a conversation counts once. Labels that came with a
-- discovered intent, or that the model does not know, say nothing about its answers.
WITH latest AS (
    SELECT * FROM predictions
    WHERE model_id = %(model_id)s AND role <> 'shadow'
      AND created_at >= coalesce(%(since)s::timestamptz, '-infinity')
      AND created_at < coalesce(%(until)s::timestamptz, 'infinity')
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s
), turns AS (
    SELECT p.conversation_id, p.model_id,
           coalesce((h.head ->> 'out_of_scope')::float8 >= 0.5, false) AS out_of_scope,
           coalesce((h.head ->> 'abstain')::boolean, false) AS abstained,
           l.said IS NOT NULL AS labelled, coalesce(l.wrong, false) AS corrected
    FROM latest p
    CROSS JOIN LATERAL (SELECT coalesce(p.heads -> 'intent', jsonb_path_query_first(p.heads, '$.*')) AS head) h
    LEFT JOIN LATERAL (
        SELECT count(*) AS said, bool_or(v.value <> p.heads -> v.head -> 'label') AS wrong
        FROM valid_labels v JOIN models m ON m.id = p.model_id
        WHERE v.message_id = p.message_id AND v.kind = 'head' AND v.value <> 'null' AND p.heads -> v.head IS NOT NULL
          AND v.origin <> 'discover' AND can_say(m.manifest, v.head, v.value)
        HAVING count(*) > 0) l ON true
), talks AS (
    SELECT conversation_id, model_id, count(*) AS turns, bool_or(out_of_scope) AS out_of_scope,
           bool_or(abstained) AS abstained, bool_or(labelled) AS labelled, bool_or(corrected) AS corrected
    FROM turns GROUP BY conversation_id, model_id
)
SELECT k.model_id, count(*) AS conversations, sum(k.turns)::bigint AS turns,
       count(*) FILTER (WHERE k.labelled) AS labelled,
       count(*) FILTER (WHERE k.corrected) AS corrected,
       count(*) FILTER (WHERE k.out_of_scope) AS out_of_scope,
       count(*) FILTER (WHERE k.abstained) AS abstained,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM messages b WHERE b.conversation_id = k.conversation_id AND b.author = 'bot'
               AND b.kind = 'handoff' AND b.decision #>> '{model,id}' = k.model_id::text)) AS handed_over,
       count(*) FILTER (WHERE c.csat_score <= 2 OR EXISTS (
           SELECT FROM messages b WHERE b.conversation_id = k.conversation_id AND b.author = 'bot'
               AND b.feedback = 'down' AND b.decision #>> '{model,id}' = k.model_id::text)) AS unhappy
FROM talks k JOIN conversations c ON c.id = k.conversation_id
GROUP BY k.model_id;

-- name: shadow_turns
-- Turns that a shadow and the model that answered both read, with what people said about them that both could say.
SELECT s.heads AS shadow, a.heads AS active, s.duration_ms AS shadow_ms, a.duration_ms AS active_ms, l.labels
FROM predictions s
JOIN predictions a ON a.message_id = s.message_id AND a.model_id = %(active_id)s AND a.role = 'active'
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(v.head, v.value) AS labels
    FROM valid_labels v, models first, models second
    WHERE v.message_id = s.message_id AND v.kind = 'head' AND v.value <> 'null' AND v.origin <> 'discover'
      AND first.id = a.model_id AND can_say(first.manifest, v.head, v.value)
      AND second.id = s.model_id AND can_say(second.manifest, v.head, v.value)) l ON true
WHERE s.model_id = %(shadow_id)s AND s.role = 'shadow' AND s.created_at >= %(since)s
ORDER BY s.created_at, s.id LIMIT %(limit)s;

-- name: alarm
SELECT * FROM alarms WHERE id = %(id)s;

-- name: alarms
SELECT m.*, a.name AS agent_name FROM alarms m LEFT JOIN agents a ON a.id = m.agent_id
ORDER BY m.cleared_at IS NOT NULL, m.created_at DESC, m.id DESC LIMIT %(limit)s;

-- name: raise_alarm
-- Returns whether it was raised now; an open one gets the latest figures.
INSERT INTO alarms AS a (kind, subject, data) VALUES (%(kind)s, %(subject)s, %(data)s)
ON CONFLICT (workspace_id, kind, subject) WHERE cleared_at IS NULL DO UPDATE SET data = excluded.data
RETURNING (xmax = 0) AS raised;

-- name: end_alarm
UPDATE alarms SET cleared_at = now() WHERE kind = %(kind)s AND subject = %(subject)s AND cleared_at IS NULL;

-- name: clear_alarm
UPDATE alarms SET cleared_at = now(), agent_id = %(agent_id)s WHERE id = %(id)s AND cleared_at IS NULL;

-- Drift: of the turns that a model answered, in their order.

-- name: drift_counts
-- By subject: how many turns came since its last window, and where that one ended.
WITH last AS (
    SELECT DISTINCT ON (subject) subject, upto, created_at FROM drift_windows
    WHERE model_id = %(id)s ORDER BY subject, upto DESC
), turns AS (
    SELECT id, message_id, created_at FROM predictions WHERE model_id = %(id)s AND role <> 'shadow'
), counted AS (
    SELECT e.modality AS subject, t.created_at FROM turns t JOIN embeddings e ON e.message_id = t.message_id
    UNION ALL SELECT 'confidence', created_at FROM turns
)
SELECT c.subject, count(*) AS turns, coalesce(l.upto, 0) AS upto,
       count(*) FILTER (WHERE c.created_at > coalesce(l.created_at, '-infinity')) AS fresh
FROM counted c LEFT JOIN last l ON l.subject = c.subject
GROUP BY c.subject, l.upto ORDER BY c.subject;

-- name: drift_vectors
SELECT e.vector::text AS vector,
       CASE jsonb_typeof(h.head -> 'confidence') WHEN 'number' THEN (h.head ->> 'confidence')::float8 END AS confidence,
       coalesce((h.head ->> 'out_of_scope')::float8 >= 0.5, false) AS out_of_scope
FROM predictions p JOIN embeddings e ON e.message_id = p.message_id
CROSS JOIN LATERAL (SELECT coalesce(p.heads -> 'intent', jsonb_path_query_first(p.heads, '$.*')) AS head) h
WHERE p.model_id = %(id)s AND p.role <> 'shadow' AND e.modality = %(modality)s
ORDER BY p.created_at DESC, p.id DESC OFFSET %(skip)s LIMIT %(limit)s;

-- name: drift_turns
SELECT CASE jsonb_typeof(h.head -> 'confidence') WHEN 'number' THEN (h.head ->> 'confidence')::float8 END AS confidence,
       coalesce((h.head ->> 'out_of_scope')::float8 >= 0.5, false) AS out_of_scope
FROM predictions p
CROSS JOIN LATERAL (SELECT coalesce(p.heads -> 'intent', jsonb_path_query_first(p.heads, '$.*')) AS head) h
WHERE p.model_id = %(id)s AND p.role <> 'shadow'
ORDER BY p.created_at DESC, p.id DESC OFFSET %(skip)s LIMIT %(limit)s;

-- name: model_usual
-- One entry of what is usual for a model, without reading the rest.
SELECT reference -> %(of)s -> %(name)s FROM models WHERE id = %(id)s;

-- name: set_model_usual
UPDATE models SET reference = jsonb_set(
    coalesce(reference, '{}') || jsonb_build_object(%(of)s::text, coalesce(reference -> %(of)s, '{}')),
    ARRAY[%(of)s, %(name)s], %(usual)s)
WHERE id = %(id)s;

-- name: add_drift_window
INSERT INTO drift_windows (model_id, subject, upto, figures, drifted)
VALUES (%(id)s, %(subject)s, %(upto)s, %(figures)s, %(drifted)s) ON CONFLICT DO NOTHING;

-- name: seen_and_not_over
-- Whether a person has seen the last alarm and every window since has been beyond the usual.
SELECT a.agent_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM drift_windows d WHERE d.subject = a.subject AND NOT d.drifted AND d.created_at > a.cleared_at)
FROM alarms a WHERE a.kind = %(kind)s AND a.subject = %(subject)s AND a.cleared_at IS NOT NULL
ORDER BY a.cleared_at DESC LIMIT 1;

-- name: drift_history
-- The latest windows of the active model by subject, in their order.
SELECT subject, upto, figures, drifted, created_at FROM (
    SELECT w.*, row_number() OVER (PARTITION BY w.subject ORDER BY w.upto DESC) AS age
    FROM drift_windows w JOIN deployments d ON d.model_id = w.model_id AND d.role = 'active' AND d.ended_at IS NULL) w
WHERE age <= %(limit)s ORDER BY subject, upto;
