-- name: conversation_of_message
SELECT conversation_id FROM messages WHERE id = %(id)s;

-- name: prediction_with_model
-- Whether the model that answered read a message, and which files that model is.
SELECT m.id AS model_id, m.fingerprint, m.name
FROM predictions p JOIN models m ON m.id = p.model_id
WHERE p.message_id = %(message_id)s AND p.model_id = %(model_id)s;

-- name: explanation
SELECT state, body, created_at FROM explanations WHERE message_id = %(message_id)s;

-- name: queue_explanation
-- One that is made or under way stays as it is; one that failed is tried again.
INSERT INTO explanations (message_id) VALUES (%(message_id)s)
ON CONFLICT (message_id) DO UPDATE SET state = 'queued', body = NULL, created_at = now()
WHERE explanations.state = 'failed' OR explanations.created_at < now() - interval '10 minutes' AND explanations.state = 'queued';

-- name: store_explanation
INSERT INTO explanations (message_id, state, body) VALUES (%(message_id)s, %(state)s, %(body)s)
ON CONFLICT (message_id) DO UPDATE SET state = excluded.state, body = excluded.body, created_at = now();

-- name: titles_of_labels
SELECT name, title FROM intents WHERE head = %(head)s;

-- name: busy_with_people
-- Jobs that somebody waits for: turns, and files of a turn.
SELECT count(*) FROM procrastinate_jobs
WHERE status IN ('todo', 'doing') AND priority >= 0 AND (scheduled_at IS NULL OR scheduled_at <= now())
  AND (queue_name = 'turns' OR queue_name = 'media');
