"""What makes up a PostgreSQL schema, as queries: equal answers mean that no statement can tell two databases apart."""

from __future__ import annotations

from conveyor.effects.sqlite import VERSIONS as VERSIONS

_OURS = "nspname !~ '^(pg_|information_schema$)'"
SCHEMAS = f"SELECT nspname FROM pg_namespace WHERE {_OURS}"
SCHEMA = (
    # columns
    "SELECT n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a "
    "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    f"WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'c') AND {_OURS}",
    # constraints
    "SELECT n.nspname, conrelid::regclass::text, conname, pg_get_constraintdef(p.oid), convalidated "
    f"FROM pg_constraint p JOIN pg_namespace n ON n.oid = p.connamespace WHERE contype <> 'n' AND {_OURS}",
    # indexes
    "SELECT n.nspname, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i "
    f"JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}",
    # views
    "SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE c.relkind IN ('v', 'm') AND {_OURS}",
    # triggers
    "SELECT n.nspname, c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND {_OURS}",
    # enumerations and domains
    "SELECT n.nspname, t.typname, t.typtype, format_type(t.typbasetype, t.typtypmod), "
    "(SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)::text "
    f"FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd') AND {_OURS}",
    # functions
    "SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc) FROM pg_proc p "
    f"JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OURS}",
    # sequences
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE c.relkind = 'S' AND {_OURS}",
)
