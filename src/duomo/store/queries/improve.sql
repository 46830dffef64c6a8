-- name: set_consent
UPDATE contacts SET may_train = %(value)s WHERE id = %(id)s;

-- name: conversations_to_learn_from
-- Oldest first, with the customer's word about training and how many of their messages are too old for it.
SELECT c.id, c.contact_id, c.language, c.team, t.may_train,
       count(*) AS messages, count(*) FILTER (WHERE m.created_at < %(since)s) AS old
FROM conversations c JOIN contacts t ON t.id = c.contact_id
     JOIN messages m ON m.conversation_id = c.id AND m.author = 'customer'
GROUP BY c.id, t.id ORDER BY c.created_at, c.id;

-- name: predicted_messages
SELECT DISTINCT message_id FROM predictions;

-- name: labels_to_learn_from
SELECT message_id, head, value, created_at FROM valid_labels WHERE kind = 'head';

-- name: clock
-- The time by which labels are dated.
SELECT clock_timestamp();

-- name: insert_improvement
-- One at a time: a second one is not made.
INSERT INTO improvements (began_by, agent_id) VALUES (%(began_by)s, %(agent_id)s)
ON CONFLICT (workspace_id) WHERE state IN ('queued', 'exporting', 'training', 'comparing') DO NOTHING
RETURNING *;

-- name: improvement_under_way
SELECT * FROM improvements WHERE state IN ('queued', 'exporting', 'training', 'comparing');

-- name: improvement
SELECT i.*, a.name AS agent_name, m.fingerprint, m.name AS model_name
FROM improvements i LEFT JOIN agents a ON a.id = i.agent_id LEFT JOIN models m ON m.id = i.model_id
WHERE i.id = %(id)s;

-- name: improvement_for_update
SELECT * FROM improvements WHERE id = %(id)s FOR UPDATE;

-- name: improvements
SELECT i.*, a.name AS agent_name, m.fingerprint, m.name AS model_name
FROM improvements i LEFT JOIN agents a ON a.id = i.agent_id LEFT JOIN models m ON m.id = i.model_id
ORDER BY i.created_at DESC LIMIT %(limit)s;

-- name: step_improvement
-- Only forward from where it is; what ended stays as it ended.
UPDATE improvements SET state = %(state)s, base_id = %(base_id)s, counts = coalesce(%(counts)s, counts)
WHERE id = %(id)s AND state IN ('queued', 'exporting', 'training', 'comparing');

-- name: finish_improvement
UPDATE improvements SET state = %(state)s, verdict = %(verdict)s, model_id = %(model_id)s,
    comparison = %(comparison)s, gates = %(gates)s, finished_at = now()
WHERE id = %(id)s AND state IN ('queued', 'exporting', 'training', 'comparing');

-- name: promote_improvement
UPDATE improvements SET state = 'promoted', verdict = %(verdict)s, agent_id = %(agent_id)s, finished_at = now()
WHERE id = %(id)s;

-- name: last_learned
-- What the newest finished run had learned from; a failed one has learned nothing.
SELECT counts ->> 'identity' FROM improvements WHERE state IN ('promoted', 'refused', 'nothing_new')
ORDER BY created_at DESC LIMIT 1;

-- name: improvement_of_model
SELECT * FROM improvements WHERE model_id = %(model_id)s ORDER BY created_at DESC LIMIT 1;

-- name: improvement_has_job
SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE task_name = 'improve' AND status IN ('todo', 'doing')
    AND args ->> 'improvement_id' = %(id)s::text);

-- name: improvement_due
-- So long after the newest run, or after one that failed; after the first label, where there was none. Not while a model
-- that was learned here is being tried: the next one would take its place before it has had its turns.
SELECT coalesce(
        (SELECT created_at + make_interval(days => CASE state WHEN 'failed' THEN %(after_failure)s ELSE %(days)s END)
         FROM improvements ORDER BY created_at DESC LIMIT 1),
        (SELECT min(created_at) FROM labels) + make_interval(days => %(days)s)) < now()
    AND NOT EXISTS (
        SELECT FROM deployments d JOIN models m ON m.id = d.model_id
        WHERE d.ended_at IS NULL AND d.role <> 'active' AND m.origin = 'improve'
          AND d.began_at > now() - make_interval(days => %(patience)s));

-- name: forget_suspects
-- What an earlier training suspected and nobody has looked at.
DELETE FROM suspects WHERE done_at IS NULL;

-- name: insert_suspect
-- A label that a person has looked at since is not asked about again, unless it was given anew.
INSERT INTO suspects (message_id, head, given, suggested, confidence)
SELECT %(message_id)s, %(head)s, %(given)s, %(suggested)s, %(confidence)s
WHERE EXISTS (SELECT FROM valid_labels WHERE message_id = %(message_id)s AND kind = 'head' AND head = %(head)s
              AND value = to_jsonb(%(given)s::text) AND origin <> 'recheck')
ON CONFLICT (message_id, head) DO UPDATE SET
    given = excluded.given, suggested = excluded.suggested, confidence = excluded.confidence, done_at = NULL,
    created_at = now()
WHERE suspects.given <> excluded.given;
