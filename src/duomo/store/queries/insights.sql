-- name: known_time_zone
SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %(name)s);

-- name: today
SELECT (now() AT TIME ZONE %(tz)s::text)::date;

-- name: insight_figures
-- Figures of the conversations begun in a period: all of them (`every`), and by one dimension or by time (`key`).
-- One with a picture and a voice note stands under both modalities.
WITH chosen AS (
    SELECT f.*, k.key
    FROM conversation_facts f CROSS JOIN LATERAL unnest(CASE %(by)s::text
        WHEN 'time' THEN ARRAY[date_trunc(%(step)s::text, f.created_at AT TIME ZONE %(tz)s::text)::date::text]
        WHEN 'modality' THEN f.sent
        WHEN 'intent' THEN ARRAY[f.intent]
        WHEN 'channel' THEN ARRAY[f.channel]
        WHEN 'language' THEN ARRAY[f.language]
        WHEN 'team' THEN ARRAY[f.team]
    END) AS k (key)
    WHERE f.created_at >= %(since)s::date::timestamp AT TIME ZONE %(tz)s::text
      AND f.created_at < (%(until)s::date + 1)::timestamp AT TIME ZONE %(tz)s::text
      AND (%(only_by)s::text IS NULL OR CASE %(only_by)s::text
          WHEN 'modality' THEN %(only)s::text = ANY(f.sent)
          WHEN 'intent' THEN f.intent IS NOT DISTINCT FROM %(only)s::text
          WHEN 'channel' THEN f.channel = %(only)s::text
          WHEN 'language' THEN f.language IS NOT DISTINCT FROM %(only)s::text
          WHEN 'team' THEN f.team IS NOT DISTINCT FROM %(only)s::text
      END))
SELECT key, grouping(key) = 1 AS every, count(*) AS conversations,
    count(*) FILTER (WHERE verified) AS verified,
    count(*) FILTER (WHERE verified AND NOT handed_over) AS verified_bot,
    count(*) FILTER (WHERE verified AND handed_over) AS verified_people,
    count(*) FILTER (WHERE handed_over) AS handed_over,
    count(*) FILTER (WHERE waits) AS waiting,
    count(*) FILTER (WHERE outcome = 'confirmed') AS confirmed,
    count(*) FILTER (WHERE outcome = 'stood') AS stood,
    count(*) FILTER (WHERE outcome = 'settling') AS settling,
    count(*) FILTER (WHERE outcome = 'reopened') AS reopened,
    count(*) FILTER (WHERE outcome = 'open') AS open,
    count(*) FILTER (WHERE outcome = 'no_reaction') AS no_reaction,
    count(bot_s) AS bot_n, percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY bot_s) AS bot_s,
    count(people_s) AS people_n, percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY people_s) AS people_s,
    count(handling_s) AS handling_n, percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY handling_s) AS handling_s,
    count(csat_score) AS csat_n, avg(csat_score)::float8 AS csat_mean,
    count(*) FILTER (WHERE csat_score = 1) AS csat_1, count(*) FILTER (WHERE csat_score = 2) AS csat_2,
    count(*) FILTER (WHERE csat_score = 3) AS csat_3, count(*) FILTER (WHERE csat_score = 4) AS csat_4,
    count(*) FILTER (WHERE csat_score = 5) AS csat_5
FROM chosen GROUP BY GROUPING SETS ((), (key)) ORDER BY every DESC, conversations DESC, key;

-- name: insight_conversations
-- The conversations of a period, a page after the row (`after_at`, `after_id`).
SELECT * FROM conversation_facts f
WHERE f.created_at >= %(since)s::date::timestamp AT TIME ZONE %(tz)s::text
  AND f.created_at < (%(until)s::date + 1)::timestamp AT TIME ZONE %(tz)s::text
  AND (%(only_by)s::text IS NULL OR CASE %(only_by)s::text
      WHEN 'modality' THEN %(only)s::text = ANY(f.sent)
      WHEN 'intent' THEN f.intent IS NOT DISTINCT FROM %(only)s::text
      WHEN 'channel' THEN f.channel = %(only)s::text
      WHEN 'language' THEN f.language IS NOT DISTINCT FROM %(only)s::text
      WHEN 'team' THEN f.team IS NOT DISTINCT FROM %(only)s::text
  END)
  AND (%(after_at)s::timestamptz IS NULL OR (f.created_at, f.id) > (%(after_at)s, %(after_id)s::uuid))
ORDER BY f.created_at, f.id LIMIT %(limit)s;

-- name: insight_unanswered
-- Questions that the bot could not answer, newest first, with what they were about: a proposal that `discover` made of
-- them, what a person or else a model called them. Who asked for a person, or was in danger, was not left unanswered.
SELECT q.id AS message_id, m.conversation_id, p.id AS proposal_id, p.name AS proposal,
       coalesce(l.label, m.decision -> 'understood' -> 'heads' -> 'intent' ->> 'label') AS intent,
       coalesce(s.text, concat_ws(' ', nullif(q.text, ''), r.text)) AS text
FROM messages m
CROSS JOIN LATERAL (SELECT coalesce(m.decision -> 'policy' ->> 'reason', m.decision ->> 'reason',
                                    m.decision ->> 'outcome', '') AS reason) w
CROSS JOIN LATERAL (
    SELECT q.id, q.text FROM messages q
    WHERE q.conversation_id = m.conversation_id AND q.author = 'customer' AND q.seq < m.seq
      AND (m.decision -> 'understood' ->> 'message_id' IS NULL
           OR q.id = (m.decision -> 'understood' ->> 'message_id')::uuid)
    ORDER BY q.seq DESC LIMIT 1) q
LEFT JOIN LATERAL (
    SELECT l.value #>> '{}' AS label FROM labels l
    WHERE l.message_id = q.id AND l.kind = 'head' AND l.head = 'intent' AND l.origin <> 'second'
    ORDER BY l.created_at DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (SELECT s.text FROM predictions s WHERE s.message_id = q.id ORDER BY s.created_at LIMIT 1) s ON true
LEFT JOIN LATERAL (
    SELECT string_agg(t.text, ' ' ORDER BY f.position) AS text FROM parts f JOIN artifacts t ON t.part_id = f.id
    WHERE f.message_id = q.id AND t.kind <> 'picture_kind') r ON s.text IS NULL
LEFT JOIN LATERAL (
    SELECT p.id, p.name FROM proposals p WHERE p.state = 'open' AND p.messages ? q.id::text
    ORDER BY p.created_at DESC LIMIT 1) p ON true
WHERE m.kind = 'handoff' AND m.author = 'bot' AND m.workspace_id = current_workspace()
  AND m.created_at >= %(since)s::date::timestamp AT TIME ZONE %(tz)s::text
  AND m.created_at < (%(until)s::date + 1)::timestamp AT TIME ZONE %(tz)s::text
  AND w.reason NOT IN ('requested', 'emergency', 'agent', 'system')
  AND (w.reason <> 'policy' OR coalesce((m.decision -> 'facts' ->> 'knowledge')::real, 0)
       < coalesce((m.decision ->> 'answer_from')::real, 1))  -- a rule handed over what could have been answered
ORDER BY m.created_at DESC LIMIT %(limit)s;

-- name: insight_vectors
SELECT message_id, vector::real[] AS vector FROM embeddings
WHERE message_id = ANY(%(message_ids)s::uuid[]) AND modality = 'text';

-- name: insight_agreement
-- What the model that answered said of the messages of a period, and what a person said of them, counted.
SELECT l.label, p.predicted, count(*) AS n
FROM (SELECT message_id, value #>> '{}' AS label FROM valid_labels
      WHERE kind = 'head' AND head = 'intent' AND value <> 'null') l
CROSS JOIN LATERAL (
    SELECT p.heads -> 'intent' ->> 'label' AS predicted, p.created_at FROM predictions p
    WHERE p.message_id = l.message_id AND p.role <> 'shadow' ORDER BY p.created_at LIMIT 1) p
WHERE p.created_at >= %(since)s::date::timestamp AT TIME ZONE %(tz)s::text
  AND p.created_at < (%(until)s::date + 1)::timestamp AT TIME ZONE %(tz)s::text
GROUP BY l.label, p.predicted ORDER BY n DESC, l.label, p.predicted;

-- name: insight_versions
-- Which models answered and which policies held in a period, by when they began.
SELECT 'model' AS kind, m.name, m.fingerprint AS version, d.role, d.share, d.began_at, d.ended_at, d.reason AS note
FROM deployments d JOIN models m ON m.id = d.model_id
WHERE d.role <> 'shadow' AND d.began_at < (%(until)s::date + 1)::timestamp AT TIME ZONE %(tz)s::text
  AND (d.ended_at IS NULL OR d.ended_at >= %(since)s::date::timestamp AT TIME ZONE %(tz)s::text)
UNION ALL
SELECT 'policy', '', p.version::text, NULL, NULL, p.created_at, p.ended_at, p.note
FROM (SELECT *, lead(created_at) OVER (ORDER BY version) AS ended_at FROM policies) p
WHERE p.created_at < (%(until)s::date + 1)::timestamp AT TIME ZONE %(tz)s::text
  AND (p.ended_at IS NULL OR p.ended_at >= %(since)s::date::timestamp AT TIME ZONE %(tz)s::text)
ORDER BY began_at, kind;
