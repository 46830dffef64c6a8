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

-- name: policy_version
SELECT version, text, note, agent_id, created_at FROM policies WHERE version = %(version)s;
