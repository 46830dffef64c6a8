-- name: set_consent
UPDATE contacts SET may_train = %(value)s WHERE id = %(id)s;

-- name: set_consent_of_conversation
-- A customer speaks for themselves: the conversation is theirs, and what they say holds for all they wrote.
UPDATE contacts SET may_train = %(value)s
WHERE id = (SELECT contact_id FROM conversations WHERE id = %(conversation_id)s);

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
-- What holds of each message and head: the newest word of whoever looked; second opinions only measure agreement.
SELECT DISTINCT ON (message_id, head) message_id, head, value, created_at FROM labels
WHERE kind = 'head' AND origin <> 'second'
ORDER BY message_id, head, created_at DESC, id DESC;
