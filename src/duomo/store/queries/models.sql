-- name: lock_models
-- Whoever changes which model answers does so one after the other.
SELECT id FROM workspaces WHERE id = current_workspace() FOR UPDATE;

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
SELECT d.id AS deployment_id, d.role, d.share, d.began_at, d.began_by, d.reason, m.*
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
