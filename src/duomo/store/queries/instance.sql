-- name: workspace_by_name
SELECT id, name, settings FROM workspaces WHERE name = %(name)s;

-- name: workspace_names
SELECT name FROM workspaces ORDER BY name;

-- name: create_workspace
INSERT INTO workspaces (name, settings) VALUES (%(name)s, %(settings)s) ON CONFLICT (name) DO NOTHING;

-- name: update_workspace_settings
UPDATE workspaces SET settings = settings || %(settings)s::jsonb WHERE id = %(id)s;

-- name: instance_secret
WITH made AS (
    INSERT INTO instance (name, value)
    VALUES (%(name)s, encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex'))
    ON CONFLICT (name) DO NOTHING
    RETURNING value
)
SELECT value FROM made UNION ALL SELECT value FROM instance WHERE name = %(name)s LIMIT 1;

-- name: insert_blob
INSERT INTO blobs (key, mime, size) VALUES (%(key)s, %(mime)s, %(size)s) ON CONFLICT DO NOTHING;

-- name: blob
SELECT * FROM blobs WHERE key = %(key)s;

-- name: defer_job
SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[
    ROW(%(queue)s, %(task)s, %(priority)s, %(lock)s, %(queueing_lock)s, %(args)s, %(at)s)::procrastinate_job_to_defer_v1
])) AS id;
