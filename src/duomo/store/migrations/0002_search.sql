-- Full-text candidates. Row-level security lets only leakproof operators use an index, and `@@` is not one: under the
-- policy every search would read the whole table. So this runs as the owner and compares the workspace itself.

CREATE FUNCTION chunks_with_tokens(_tokens text[], _weights real[], _each integer, _limit integer)
    RETURNS TABLE (id uuid, score real)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public ROWS 100
    AS $$
        SELECT found.id, sum(token.weight)::real AS score
        FROM unnest(_tokens, _weights) AS token (text, weight)
        CROSS JOIN LATERAL (
            SELECT chunks.id FROM public.chunks
            WHERE chunks.search @@ token.text::tsquery AND chunks.workspace_id = public.current_workspace()
            LIMIT _each
        ) AS found
        GROUP BY found.id ORDER BY score DESC, found.id LIMIT _limit
    $$;

CREATE FUNCTION chunks_with_pinyin(_tokens text[], _weights real[], _each integer, _limit integer)
    RETURNS TABLE (id uuid, score real)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public ROWS 100
    AS $$
        SELECT found.id, sum(token.weight)::real AS score
        FROM unnest(_tokens, _weights) AS token (text, weight)
        CROSS JOIN LATERAL (
            SELECT chunks.id FROM public.chunks
            WHERE chunks.pinyin @@ token.text::tsquery AND chunks.workspace_id = public.current_workspace()
            LIMIT _each
        ) AS found
        GROUP BY found.id ORDER BY score DESC, found.id LIMIT _limit
    $$;

REVOKE ALL ON FUNCTION chunks_with_tokens, chunks_with_pinyin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chunks_with_tokens, chunks_with_pinyin TO duomo_app;
