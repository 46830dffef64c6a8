-- Every row belongs to a workspace. `current_workspace()` reads the setting that `Database.transaction` makes;
-- row-level security compares it on every table, for a role that does not own them. Without the setting no row is seen.

CREATE EXTENSION IF NOT EXISTS vector;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'duomo_app') THEN
        CREATE ROLE duomo_app NOLOGIN NOBYPASSRLS;
    END IF;
    EXECUTE format('GRANT duomo_app TO %I', current_user);
END $$;

CREATE FUNCTION current_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('duomo.workspace', true), '')::uuid $$;

-- Instance ---------------------------------------------------------------------------------------------------------

CREATE TABLE instance (          -- secrets shared by all processes, e.g. the key that signs visitor tokens
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE workspaces (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    settings   jsonb NOT NULL DEFAULT '{}',   -- title, greeting, thresholds, keep_originals, …: see support/conversation.py
    created_at timestamptz NOT NULL DEFAULT now()
);

-- People -----------------------------------------------------------------------------------------------------------

CREATE TABLE agents (
    id            uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id  uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    email         text NOT NULL,
    name          text NOT NULL,
    role          text NOT NULL CHECK (role IN ('owner', 'agent')),
    password_hash text NOT NULL,              -- argon2id
    disabled      boolean NOT NULL DEFAULT false,
    seen_at       timestamptz,                -- when a console of this agent was last connected
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, email)
);

CREATE TABLE agent_sessions (
    token_hash   bytea PRIMARY KEY,           -- SHA-256 of the cookie
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    agent_id     uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    csrf         text NOT NULL,
    expires_at   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE contacts (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    name         text,
    language     text,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Conversations ----------------------------------------------------------------------------------------------------

CREATE TABLE conversations (
    id             uuid PRIMARY KEY,           -- made by the client
    workspace_id   uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    contact_id     uuid NOT NULL REFERENCES contacts ON DELETE CASCADE,
    channel        text NOT NULL DEFAULT 'web',
    status         text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'open', 'snoozed', 'resolved')),
    language       text,
    assignee_id    uuid REFERENCES agents ON DELETE SET NULL,
    last_seq       bigint NOT NULL DEFAULT 0,
    answered_seq   bigint NOT NULL DEFAULT 0,  -- the last customer message a turn has dealt with
    failures       integer NOT NULL DEFAULT 0, -- turns in a row that could not answer
    handoff_reason text,
    brief          jsonb,
    waiting_since  timestamptz,                -- a customer waits for a person since
    snoozed_until  timestamptz,
    csat_score     smallint CHECK (csat_score BETWEEN 1 AND 5),
    csat_comment   text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON conversations (workspace_id, status, updated_at DESC);
CREATE INDEX ON conversations (workspace_id, updated_at DESC);
CREATE INDEX ON conversations (contact_id, updated_at DESC);
CREATE INDEX ON conversations (snoozed_until) WHERE status = 'snoozed';

CREATE TABLE messages (
    id              uuid PRIMARY KEY,          -- made by the client: storing it twice is storing it once
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    seq             bigint NOT NULL,           -- of its event
    author          text NOT NULL CHECK (author IN ('customer', 'bot', 'agent', 'system')),
    kind            text NOT NULL,             -- types.MessageKind
    agent_id        uuid REFERENCES agents ON DELETE SET NULL,
    text            text NOT NULL,
    language        text,
    citations       jsonb NOT NULL DEFAULT '[]',
    options         jsonb NOT NULL DEFAULT '[]',
    decision        jsonb NOT NULL DEFAULT '{}',
    fingerprint     bytea,                     -- SHA-256 of what the client sent, to tell a retry from a clash
    feedback        text CHECK (feedback IN ('up', 'down')),
    search          tsvector,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (conversation_id, seq)
);
CREATE INDEX ON messages USING gin (search);

CREATE TABLE blobs (
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    key          text NOT NULL,                -- SHA-256 of the bytes, hexadecimal
    mime         text NOT NULL,
    size         bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, key)
);

CREATE TABLE parts (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    message_id   uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    position     smallint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('image', 'audio', 'document')),
    state        text NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'ready', 'refused')),
    mime         text NOT NULL,
    name         text NOT NULL,
    incoming     text,                         -- blob key of the bytes as sent; NULL once they are re-encoded
    blob         text,                         -- blob key of the re-encoded bytes
    original     text,                         -- blob key of the bytes as sent, where the workspace keeps them
    width        integer,
    height       integer,
    duration_s   real,
    embedding    halfvec,                      -- of a picture
    error        jsonb,                        -- {code, message}
    UNIQUE (message_id, position)
);

CREATE TABLE artifacts (
    id            uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id  uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    part_id       uuid NOT NULL REFERENCES parts ON DELETE CASCADE,
    kind          text NOT NULL,
    text          text NOT NULL,
    original_text text,
    confidence    real NOT NULL,
    model         text NOT NULL,
    version       text NOT NULL,
    duration_ms   integer NOT NULL,
    data          jsonb NOT NULL DEFAULT '{}',
    corrected_by  text CHECK (corrected_by IN ('customer', 'agent')),
    corrected_at  timestamptz,
    search        tsvector,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON artifacts (part_id);
CREATE INDEX ON artifacts USING gin (search);

CREATE TABLE events (
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    seq             bigint NOT NULL,
    kind            text NOT NULL,             -- message update delta turn status
    message_id      uuid REFERENCES messages ON DELETE CASCADE,
    data            jsonb NOT NULL DEFAULT '{}',
    private         boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation_id, seq)
);

-- The only way to add an event: takes the next number under the conversation's row lock and tells the listeners.
CREATE FUNCTION append_event(_conversation uuid, _kind text, _message uuid, _data jsonb, _private boolean)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    _seq bigint;
    _workspace uuid;
BEGIN
    UPDATE conversations SET last_seq = last_seq + 1, updated_at = now() WHERE id = _conversation
        RETURNING last_seq, workspace_id INTO _seq, _workspace;
    IF _seq IS NULL THEN
        RAISE EXCEPTION 'no conversation %', _conversation;
    END IF;
    INSERT INTO events (workspace_id, conversation_id, seq, kind, message_id, data, private)
        VALUES (_workspace, _conversation, _seq, _kind, _message, coalesce(_data, '{}'), coalesce(_private, false));
    PERFORM pg_notify('duomo', format('%s %s %s', _workspace, _conversation, _seq));
    RETURN _seq;
END $$;

CREATE TABLE reads (                           -- how far an agent has read
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    agent_id        uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    seq             bigint NOT NULL,
    PRIMARY KEY (conversation_id, agent_id)
);

CREATE UNLOGGED TABLE presence (
    workspace_id    uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    agent_id        uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    typing_until    timestamptz,
    seen_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation_id, agent_id)
);

CREATE TABLE canned_replies (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    shortcut     text NOT NULL,
    title        text NOT NULL,
    text         jsonb NOT NULL,               -- {zh, en}
    UNIQUE (workspace_id, shortcut)
);

-- Knowledge --------------------------------------------------------------------------------------------------------

CREATE TABLE articles (
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    id           text NOT NULL,                -- the record's own id, or the path within the ingested folder
    source       text NOT NULL,                -- where it was read from
    topic        text,                         -- the same in every language version of one article
    title        text NOT NULL,
    language     text NOT NULL,
    uri          text NOT NULL,
    text         text NOT NULL,                -- Markdown, shown when a source is opened
    content_hash text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX ON articles (workspace_id, topic);

CREATE TABLE chunks (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace(),
    article_id   text NOT NULL,
    position     integer NOT NULL,
    origin       text NOT NULL,                -- text | ocr | transcript
    language     text NOT NULL,
    heading      text NOT NULL DEFAULT '',     -- the headings above it, joined
    text         text NOT NULL,
    picture      text,                         -- blob key of the picture beside it
    search       tsvector NOT NULL,            -- tokens of media/text.py
    pinyin       tsvector,
    embedding    halfvec(384),                 -- multilingual
    embedding_en halfvec(384),                 -- English text only
    UNIQUE (workspace_id, article_id, position),
    FOREIGN KEY (workspace_id, article_id) REFERENCES articles ON DELETE CASCADE
);
CREATE INDEX chunks_embedding ON chunks USING hnsw (embedding halfvec_ip_ops);
CREATE INDEX chunks_embedding_en ON chunks USING hnsw (embedding_en halfvec_ip_ops);
CREATE INDEX chunks_search ON chunks USING gin (search) WITH (fastupdate = off);
CREATE INDEX chunks_pinyin ON chunks USING gin (pinyin) WITH (fastupdate = off);

CREATE TABLE article_pictures (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace(),
    article_id   text NOT NULL,
    blob         text NOT NULL,
    alt          text NOT NULL DEFAULT '',
    embedding    halfvec,
    FOREIGN KEY (workspace_id, article_id) REFERENCES articles ON DELETE CASCADE
);
CREATE INDEX ON article_pictures (workspace_id, article_id);

CREATE TABLE terms (                           -- document frequency of a token, for IDF
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    token        text NOT NULL,
    df           integer NOT NULL,
    PRIMARY KEY (workspace_id, token)
);

CREATE TABLE lexicon (                         -- names, models and codes of the workspace, for repairing transcripts
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    term         text NOT NULL,
    pinyin       text NOT NULL,
    weight       real NOT NULL,
    PRIMARY KEY (workspace_id, term)
);

CREATE TABLE imports (                         -- a run of ingestion, for progress
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done')),
    done         integer NOT NULL DEFAULT 0,
    total        integer NOT NULL DEFAULT 0,
    added        integer NOT NULL DEFAULT 0,
    unchanged    integer NOT NULL DEFAULT 0,
    updated      integer NOT NULL DEFAULT 0,
    failed       jsonb NOT NULL DEFAULT '[]',  -- [{name, reason}]
    files        jsonb NOT NULL DEFAULT '[]',  -- [{name, blob}] waiting to be read
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE UNLOGGED TABLE questions (              -- asked outside a conversation; a worker, which has the models, answers
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id uuid NOT NULL DEFAULT current_workspace() REFERENCES workspaces ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('ask', 'retrieve')),
    query        jsonb NOT NULL,               -- {text, language, k, image, audio}; the last two are blob keys
    answer       jsonb,                        -- what `duomo ask --json` or `duomo retrieve --json` prints
    error        jsonb,                        -- {code, message}
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Rights -----------------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA public TO duomo_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO duomo_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO duomo_app;
REVOKE INSERT, UPDATE, DELETE ON instance FROM duomo_app;
REVOKE INSERT, DELETE ON workspaces FROM duomo_app;

ALTER TABLE workspaces ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_name ON workspaces FOR SELECT USING (true);      -- a workspace is found by its name before it is entered
CREATE POLICY own ON workspaces FOR UPDATE USING (id = current_workspace());

DO $$
DECLARE
    _table text;
BEGIN
    FOR _table IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attname = 'workspace_id' AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', _table);
        EXECUTE format('CREATE POLICY own ON %I USING (workspace_id = current_workspace())', _table);
    END LOOP;
END $$;
