-- The trained model in the conversation: which models there are and which of them answers, the policy, what was
-- understood of each message, what people said about it, and the runs that make the next model.

ALTER TABLE agents ADD COLUMN team text;
ALTER TABLE contacts ADD COLUMN may_train boolean;             -- NULL: as the workspace's policy says
ALTER TABLE conversations ADD COLUMN team text;                -- that it was handed over to
ALTER TABLE conversations ADD COLUMN priority text NOT NULL DEFAULT 'normal'
    CHECK (priority IN ('low', 'normal', 'high', 'urgent'));
ALTER TABLE conversations ADD COLUMN opened_at timestamptz;    -- first handed over to people
ALTER TABLE conversations ADD COLUMN opened_reason text;       -- why, that first time
ALTER TABLE conversations ADD COLUMN called_at timestamptz;    -- last handed over to people
ALTER TABLE conversations ADD COLUMN resolved_at timestamptz;  -- last resolved; stays when it is reopened
ALTER TABLE conversations ADD COLUMN reopened_at timestamptz;  -- last left `resolved` for more than a thank-you
ALTER TABLE conversations ADD COLUMN confirmed_at timestamptz; -- the customer said that it helped
ALTER TABLE conversations ADD COLUMN asked_at timestamptz;     -- the customer's first message
ALTER TABLE conversations ADD COLUMN bot_at timestamptz;       -- the bot's first word on it
ALTER TABLE conversations ADD COLUMN agent_at timestamptz;     -- a person's first reply
ALTER TABLE conversations ADD COLUMN sent text[] NOT NULL DEFAULT '{}';  -- of text, voice, picture, document
ALTER TABLE conversations ADD COLUMN intent text;              -- first one that a model recognised
CREATE INDEX ON conversations (workspace_id, created_at);

-- Policy -----------------------------------------------------------------------------------------------------------

CREATE TABLE policies (                        -- the newest version holds; an older one is made valid by saving it anew
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    version      integer NOT NULL,
    text         text NOT NULL,                -- YAML, as it was written
    note         text NOT NULL DEFAULT '',
    agent_id     uuid REFERENCES agents ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, version)
);

-- Models -----------------------------------------------------------------------------------------------------------

CREATE TABLE models (                          -- an exported folder, kept below HOME/models/WORKSPACE/FINGERPRINT
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    fingerprint  text NOT NULL,                -- SHA-256 of manifest.json, which holds the hashes of the other files
    name         text NOT NULL,
    origin       text NOT NULL CHECK (origin IN ('shipped', 'folder', 'improve')),
    manifest     jsonb NOT NULL,
    samples      text,                         -- path of the samples.jsonl it was trained from, to train again with
    reference    jsonb,                        -- what is usual, for drift: see support/drift.py
    agent_id     uuid REFERENCES agents ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, fingerprint)
);

-- Whether a model can give a label, so that its wrong answers may be told by it; where its manifest does not say, yes.
CREATE FUNCTION can_say(_manifest jsonb, _head text, _value jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT coalesce((head -> 'labels') || coalesce(head -> 'out_of_scope', '[]') @> _value, true)
          FROM (SELECT _manifest #> ARRAY['heads', _head] AS head) h $$;

CREATE TABLE deployments (                     -- which model had which part from when to when; rows are only ever closed
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    model_id     uuid NOT NULL REFERENCES models ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('active', 'canary', 'shadow')),
    share        real CHECK (share > 0 AND share <= 1),  -- of the conversations, of a canary
    began_at     timestamptz NOT NULL DEFAULT now(),
    began_by     text NOT NULL,                -- agent | improve | rollout | rollback
    agent_id     uuid REFERENCES agents ON DELETE SET NULL,
    reason       text NOT NULL DEFAULT '',
    ended_at     timestamptz,
    ended_by     text,
    ended_reason text
);
CREATE UNIQUE INDEX one_of_each_role ON deployments (workspace_id, role) WHERE ended_at IS NULL;
CREATE INDEX ON deployments (workspace_id, began_at DESC);

CREATE TABLE part_views (                      -- what a model's encoders made of a file, so that a turn encodes nothing
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    part_id      uuid NOT NULL REFERENCES parts ON DELETE CASCADE,
    view         text NOT NULL,                -- "image.efficientnet"
    version      text NOT NULL,
    vector       bytea NOT NULL,               -- float32, little endian
    PRIMARY KEY (part_id, view)
);
ALTER TABLE part_views ALTER COLUMN vector SET STORAGE EXTERNAL;

CREATE TABLE predictions (                     -- what a model understood of a turn; of its last customer message
    id              uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    message_id      uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    model_id        uuid NOT NULL REFERENCES models ON DELETE CASCADE,
    role            text NOT NULL CHECK (role IN ('active', 'canary', 'shadow')),
    heads           jsonb NOT NULL,            -- {head: {label, confidence, set, abstain, out_of_scope, conflict, shares}}
    pattern         text NOT NULL,             -- "text+image": the modalities that were there
    language        text NOT NULL,
    text            text NOT NULL,             -- what the model read: written, said, seen
    duration_ms     real NOT NULL,             -- beside the encoding
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (message_id, model_id)
);
CREATE INDEX ON predictions (workspace_id, created_at);
CREATE INDEX ON predictions (conversation_id);

CREATE TABLE embeddings (                      -- one vector of a turn a modality: for drift, diversity and discovery
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    message_id   uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    modality     text NOT NULL,
    vector       halfvec NOT NULL,             -- its first dense view, of length 1
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (message_id, modality)
);

-- a model that was sent as an archive: a worker opens it, as it answers questions
ALTER TABLE questions DROP CONSTRAINT questions_kind_check;
ALTER TABLE questions ADD CHECK (kind IN ('ask', 'retrieve', 'model'));

-- What people say about it -----------------------------------------------------------------------------------------

CREATE TABLE intents (                         -- labels beside those that the active model knows
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    head         text NOT NULL DEFAULT 'intent',
    name         text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    title        jsonb NOT NULL DEFAULT '{}',  -- {zh, en}
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, head, name)
);

CREATE TABLE labels (                          -- what a person said a message is or should have been; never changed
    id              uuid PRIMARY KEY,          -- made by the client: saying it twice is saying it once
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    message_id      uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    kind            text NOT NULL CHECK (kind IN ('head', 'transcript', 'ocr', 'source', 'answer', 'handoff')),
    head            text NOT NULL DEFAULT '',  -- of kind head
    value           jsonb NOT NULL,            -- head: the label · transcript, ocr: the text · source: article id, "" for none
                                               -- · answer: the better text · handoff: true | false · null takes back
    said            jsonb NOT NULL DEFAULT '{}',  -- what the system had said: prediction, decision, versions
    origin          text NOT NULL CHECK (origin IN ('correction', 'review', 'recheck', 'second', 'discover', 'script')),
    agent_id        uuid REFERENCES agents ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON labels (workspace_id, created_at);
CREATE INDEX ON labels (message_id, kind, head, created_at DESC);
CREATE INDEX ON labels (conversation_id);

CREATE VIEW valid_labels WITH (security_invoker = true) AS     -- the newest of what was said; null took it back
    SELECT DISTINCT ON (message_id, kind, head) * FROM labels WHERE origin <> 'second'
    ORDER BY message_id, kind, head, created_at DESC, id DESC;

CREATE TABLE suspects (                        -- labels that the newest training takes for wrong: to be looked at again
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    message_id   uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    head         text NOT NULL,
    given        text NOT NULL,
    suggested    text NOT NULL,
    confidence   real NOT NULL,                -- of the given label, [0, 1]
    created_at   timestamptz NOT NULL DEFAULT now(),
    done_at      timestamptz,
    PRIMARY KEY (message_id, head)
);

CREATE TABLE proposals (                       -- what `discover` found: an intent without a name, an article that lacks
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('intent', 'article')),
    name         text NOT NULL,
    terms        jsonb NOT NULL DEFAULT '[]',
    messages     jsonb NOT NULL DEFAULT '[]',  -- ids, nearest to the centre first
    cohesion     real,
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed')),
    became       text,                         -- the intent's name, or the article's id
    agent_id     uuid REFERENCES agents ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    decided_at   timestamptz
);
CREATE INDEX ON proposals (workspace_id, state, created_at DESC);

CREATE TABLE drafts (                          -- articles on their way into the knowledge
    id              uuid PRIMARY KEY,
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid REFERENCES conversations ON DELETE SET NULL,
    message_id      uuid REFERENCES messages ON DELETE SET NULL,
    language        text NOT NULL,
    title           text NOT NULL,
    text            text NOT NULL,             -- Markdown
    pictures        jsonb NOT NULL DEFAULT '[]',  -- [{blob, alt}]
    state           text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'published', 'dismissed')),
    article_id      text,
    agent_id        uuid REFERENCES agents ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- Runs -------------------------------------------------------------------------------------------------------------

CREATE TABLE improvements (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    state        text NOT NULL DEFAULT 'queued'
                 CHECK (state IN ('queued', 'exporting', 'training', 'comparing', 'refused', 'promoted', 'failed', 'nothing_new')),
    began_by     text NOT NULL DEFAULT 'schedule',  -- schedule | agent | command
    agent_id     uuid REFERENCES agents ON DELETE SET NULL,
    counts       jsonb NOT NULL DEFAULT '{}',  -- labelled, unlabelled, held_out, corrections, left out and why;
                                               -- identity and exported_at of what was exported; again: how often begun anew
    base_id      uuid REFERENCES models ON DELETE SET NULL,      -- the active model it was compared with
    model_id     uuid REFERENCES models ON DELETE SET NULL,      -- the candidate
    comparison   jsonb,                        -- figures with intervals, by slice
    gates        jsonb,                        -- [{gate, passed, why}]
    verdict      text NOT NULL DEFAULT '',     -- why it was promoted, refused, failed; an owner's words where one decided
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE UNIQUE INDEX one_improvement_at_a_time ON improvements (workspace_id)
    WHERE state IN ('queued', 'exporting', 'training', 'comparing');

CREATE TABLE alarms (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    kind         text NOT NULL,                -- drift | rollback | improve | model
    subject      text NOT NULL,                -- "image": what it is about; at most one open alarm each
    data         jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    cleared_at   timestamptz,
    agent_id     uuid REFERENCES agents ON DELETE SET NULL
);
CREATE UNIQUE INDEX one_open_alarm ON alarms (workspace_id, kind, subject) WHERE cleared_at IS NULL;

CREATE TABLE drift_windows (                   -- how far the last turns of a model were from what is usual for it
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    model_id     uuid NOT NULL REFERENCES models ON DELETE CASCADE,
    subject      text NOT NULL,                -- a modality, "confidence" or "out_of_scope"
    upto         bigint NOT NULL,              -- turns the model had of it at the window's end
    figures      jsonb NOT NULL,               -- see support/drift.py
    drifted      boolean NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, subject, upto)
);

CREATE TABLE explanations (                    -- of a bot's message or a hand-over, made when somebody asks or has time
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    message_id   uuid PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done', 'failed')),
    body         jsonb,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Versions of the knowledge ----------------------------------------------------------------------------------------

CREATE TABLE knowledge_versions (
    workspace_id uuid PRIMARY KEY REFERENCES workspaces ON DELETE CASCADE,
    version      bigint NOT NULL
);

CREATE TABLE article_history (                 -- articles as they were from one version of the knowledge to another
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    id           text NOT NULL,
    topic        text,
    title        text NOT NULL,
    language     text NOT NULL,
    uri          text NOT NULL,
    text         text NOT NULL,
    content_hash text NOT NULL,
    until        bigint NOT NULL,              -- the version that no longer has it
    changed_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON article_history (workspace_id, id, until);
ALTER TABLE articles ADD COLUMN since bigint NOT NULL DEFAULT 0;        -- the version that brought it
ALTER TABLE article_history ADD COLUMN since bigint NOT NULL DEFAULT 0;

-- Every change of an article's content is a version; what it replaced is kept.
CREATE FUNCTION article_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    _workspace uuid := coalesce(NEW.workspace_id, OLD.workspace_id);
    _version bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.content_hash = NEW.content_hash THEN
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM workspaces WHERE id = _workspace) THEN
        RETURN coalesce(NEW, OLD);             -- the whole workspace is being erased
    END IF;
    INSERT INTO knowledge_versions VALUES (_workspace, 1)
        ON CONFLICT (workspace_id) DO UPDATE SET version = knowledge_versions.version + 1
        RETURNING version INTO _version;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        INSERT INTO article_history (workspace_id, id, topic, title, language, uri, text, content_hash, since, until)
            VALUES (_workspace, OLD.id, OLD.topic, OLD.title, OLD.language, OLD.uri, OLD.text, OLD.content_hash, OLD.since, _version);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.since := _version;
    RETURN NEW;
END $$;
CREATE TRIGGER article_changed BEFORE INSERT OR UPDATE OR DELETE ON articles
    FOR EACH ROW EXECUTE FUNCTION article_changed();

-- Measures ---------------------------------------------------------------------------------------------------------
-- The dashboard reads one row a conversation; the firsts of its messages are noted there as they come.

CREATE FUNCTION note_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    _small_talk constant text[] := ARRAY['thanks', 'goodbye', 'acknowledged'];
BEGIN
    IF NEW.author = 'customer' THEN
        UPDATE conversations SET asked_at = coalesce(asked_at, NEW.created_at),
            sent = CASE WHEN NEW.text = '' OR 'text' = ANY(sent) THEN sent ELSE sent || 'text'::text END
        WHERE id = NEW.conversation_id AND (asked_at IS NULL OR (NEW.text <> '' AND 'text' <> ALL(sent)));
    ELSIF NEW.author = 'bot' AND NEW.kind IN ('answer', 'clarify', 'handoff') THEN
        UPDATE conversations SET bot_at = NEW.created_at WHERE id = NEW.conversation_id AND bot_at IS NULL;
        IF NEW.decision ->> 'outcome' = ANY(_small_talk) THEN  -- "thank you" after a resolve asks for nothing
            UPDATE conversations c SET reopened_at = NULL
            WHERE id = NEW.conversation_id AND reopened_at > resolved_at AND NOT EXISTS (
                SELECT FROM messages m WHERE m.conversation_id = c.id AND m.id <> NEW.id AND m.author = 'bot'
                    AND m.kind IN ('answer', 'clarify', 'handoff') AND m.created_at >= c.reopened_at
                    AND coalesce(m.decision ->> 'outcome', '') <> ALL(_small_talk));
        ELSE                                   -- the question that it answers may have come after a "thank you"
            UPDATE conversations c SET reopened_at = q.asked_at
            FROM (SELECT max(created_at) AS asked_at FROM messages
                  WHERE conversation_id = NEW.conversation_id AND author = 'customer') q
            WHERE c.id = NEW.conversation_id AND c.status <> 'resolved' AND q.asked_at > c.resolved_at
              AND coalesce(c.reopened_at < c.resolved_at, true);
        END IF;
    ELSIF NEW.author = 'agent' AND NEW.kind <> 'note' THEN
        UPDATE conversations SET agent_at = NEW.created_at WHERE id = NEW.conversation_id AND agent_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_message AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION note_message();

CREATE FUNCTION modality(_kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE _kind WHEN 'audio' THEN 'voice' WHEN 'image' THEN 'picture' ELSE _kind END $$;

CREATE FUNCTION note_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations c SET sent = sent || modality(NEW.kind) FROM messages m
    WHERE m.id = NEW.message_id AND m.author = 'customer' AND c.id = m.conversation_id
      AND modality(NEW.kind) <> ALL(c.sent);
    RETURN NULL;
END $$;
CREATE TRIGGER note_part AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION note_part();

CREATE FUNCTION note_intent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations SET intent = NEW.heads -> 'intent' ->> 'label'
    WHERE id = NEW.conversation_id AND intent IS NULL
      AND coalesce((NEW.heads -> 'intent' ->> 'out_of_scope')::real, 0) < 0.5;
    RETURN NULL;
END $$;
CREATE TRIGGER note_intent AFTER INSERT ON predictions
    FOR EACH ROW WHEN (NEW.role <> 'shadow') EXECUTE FUNCTION note_intent();

UPDATE conversations c SET                     -- of conversations that were there before
    asked_at = m.asked_at, bot_at = m.bot_at, agent_at = m.agent_at, sent = m.sent || p.sent,
    opened_at = e.opened_at, called_at = e.called_at, opened_reason = CASE WHEN e.opened_at IS NOT NULL THEN c.handoff_reason END,
    resolved_at = e.resolved_at,
    reopened_at = CASE WHEN c.status <> 'resolved' THEN e.reopened_at END,
    confirmed_at = CASE WHEN m.helped OR c.csat_score >= 4 THEN c.updated_at END
FROM (SELECT conversation_id, min(created_at) FILTER (WHERE author = 'customer') AS asked_at,
             min(created_at) FILTER (WHERE author = 'bot' AND kind IN ('answer', 'clarify', 'handoff')) AS bot_at,
             min(created_at) FILTER (WHERE author = 'agent' AND kind <> 'note') AS agent_at,
             CASE WHEN bool_or(author = 'customer' AND text <> '') THEN ARRAY['text'] ELSE '{}' END AS sent,
             bool_or(feedback = 'up') AS helped
      FROM messages GROUP BY conversation_id) m,
     LATERAL (SELECT coalesce(array_agg(DISTINCT modality(f.kind)), '{}') AS sent
              FROM parts f JOIN messages n ON n.id = f.message_id
              WHERE n.conversation_id = m.conversation_id AND n.author = 'customer') p,
     LATERAL (SELECT min(created_at) FILTER (WHERE data ->> 'status' = 'open') AS opened_at,
                     max(created_at) FILTER (WHERE data ->> 'status' = 'open') AS called_at,
                     max(created_at) FILTER (WHERE data ->> 'status' = 'resolved') AS resolved_at,
                     max(created_at) FILTER (WHERE data ->> 'status' <> 'resolved') AS reopened_at
              FROM events v WHERE v.conversation_id = m.conversation_id AND v.kind = 'status') e
WHERE c.id = m.conversation_id;

-- Resolved is what the customer confirmed, and what was resolved and stood for 72 hours. A confirmation does not
-- outlast a person having to be called after it. Silence after an answer is no reaction, not a solution.
CREATE VIEW conversation_facts WITH (security_invoker = true) AS
SELECT *, outcome IN ('confirmed', 'stood') AS verified FROM (
    SELECT c.id, c.workspace_id, c.created_at, c.channel, c.language, c.team, c.priority, c.status, c.sent,
        coalesce((SELECT l.value #>> '{}' FROM labels l  -- as valid_labels has them, by the index of conversations
                  WHERE l.conversation_id = c.id AND l.kind = 'head' AND l.head = 'intent' AND l.origin <> 'second'
                    AND l.value <> 'null' AND NOT EXISTS (
                        SELECT FROM labels n WHERE n.message_id = l.message_id AND n.kind = 'head'
                            AND n.head = 'intent' AND n.origin <> 'second' AND (n.created_at, n.id) > (l.created_at, l.id))
                  ORDER BY l.created_at DESC LIMIT 1),
                 c.intent) AS intent,
        c.opened_at IS NOT NULL AS handed_over, c.opened_reason AS handoff_reason, c.csat_score, c.csat_comment,
        c.opened_at IS NOT NULL AND c.agent_at IS NULL AND c.status IN ('open', 'snoozed') AS waits,
        extract(epoch FROM c.bot_at - c.asked_at)::float8 AS bot_s,
        CASE WHEN c.agent_at >= c.opened_at AND c.opened_reason IS DISTINCT FROM 'agent'  -- nobody waited for those
             THEN extract(epoch FROM c.agent_at - c.opened_at)::float8 END AS people_s,
        CASE WHEN c.resolved_at > c.opened_at
             THEN extract(epoch FROM c.resolved_at - c.opened_at)::float8 END AS handling_s,
        CASE
            WHEN c.confirmed_at IS NOT NULL AND (c.called_at IS NULL OR c.called_at <= c.confirmed_at) THEN 'confirmed'
            WHEN c.reopened_at > c.resolved_at AND c.reopened_at < c.resolved_at + interval '72 hours' THEN 'reopened'
            WHEN c.resolved_at <= now() - interval '72 hours' THEN 'stood'
            WHEN c.resolved_at IS NOT NULL THEN 'settling'
            WHEN c.status IN ('open', 'snoozed') THEN 'open'
            ELSE 'no_reaction'
        END AS outcome
    FROM conversations c WHERE c.asked_at IS NOT NULL) f;
CREATE INDEX ON messages (workspace_id, created_at) WHERE kind = 'handoff';

-- Rights -----------------------------------------------------------------------------------------------------------

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO duomo_app;
REVOKE INSERT, UPDATE, DELETE ON instance FROM duomo_app;
REVOKE INSERT, DELETE ON workspaces FROM duomo_app;
REVOKE UPDATE ON labels FROM duomo_app;
REVOKE UPDATE, DELETE ON policies FROM duomo_app;

DO $$
DECLARE
    _table text;
BEGIN
    FOREACH _table IN ARRAY ARRAY['policies', 'models', 'deployments', 'part_views', 'predictions', 'embeddings', 'intents',
        'labels', 'suspects', 'proposals', 'drafts', 'improvements', 'alarms', 'drift_windows', 'explanations', 'knowledge_versions', 'article_history']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', _table);
        EXECUTE format('CREATE POLICY own ON %I USING (workspace_id = current_workspace())', _table);
    END LOOP;
END $$;
