-- name: workspace_by_id
SELECT id, name, settings FROM workspaces WHERE id = %(id)s;

-- name: insert_contact
INSERT INTO contacts (language) VALUES (%(language)s) RETURNING id;

-- name: contact
SELECT id, name, language FROM contacts WHERE id = %(id)s;

-- name: contact_conversations
SELECT id, status, last_seq, language, created_at, updated_at FROM conversations
WHERE contact_id = %(contact_id)s ORDER BY updated_at DESC, id LIMIT 100;

-- name: conversation_of_contact
SELECT id, status, last_seq, language, created_at, updated_at FROM conversations
WHERE id = %(id)s AND contact_id = %(contact_id)s;

-- name: agent_by_email
SELECT id, name, email, role, password_hash FROM agents WHERE lower(email) = lower(%(email)s) AND NOT disabled;

-- name: upsert_agent
INSERT INTO agents (email, name, role, password_hash) VALUES (%(email)s, %(name)s, %(role)s, %(password_hash)s)
ON CONFLICT (workspace_id, email) DO UPDATE
    SET name = excluded.name, role = excluded.role, password_hash = excluded.password_hash, disabled = false
RETURNING id;

-- name: set_password_hash
UPDATE agents SET password_hash = %(password_hash)s WHERE id = %(id)s;

-- name: insert_session
INSERT INTO agent_sessions (token_hash, agent_id, csrf, expires_at)
VALUES (%(token_hash)s, %(agent_id)s, %(csrf)s, now() + make_interval(hours => %(hours)s));

-- name: session
SELECT a.id, a.name, a.email, a.role, s.csrf FROM agent_sessions s JOIN agents a ON a.id = s.agent_id
WHERE s.token_hash = %(token_hash)s AND s.expires_at > now() AND NOT a.disabled;

-- name: delete_session
DELETE FROM agent_sessions WHERE token_hash = %(token_hash)s;

-- name: delete_expired_sessions
DELETE FROM agent_sessions WHERE expires_at <= now();

-- name: touch_agent
UPDATE agents SET seen_at = now() WHERE id = %(id)s;

-- name: agents
SELECT id, name, email, role, coalesce(seen_at > now() - interval '40 seconds', false) AS online
FROM agents WHERE NOT disabled ORDER BY name, id;
