-- Sites, and the keys by which they are written to and read: docs/access.md.
-- events.site_id refers to no site: the check would cost every event a look-up. A key belongs to a site, and an
-- event has the site of its key.

create table sites (
    id         smallint    primary key generated always as identity,
    -- A command takes an id, or all, in its place.
    name       text        not null unique
        check (name ~ '\S' and name !~ '[[:cntrl:]]' and length(name) <= 100 and name !~ '^([0-9]+|all)$'),
    created_at timestamptz not null default now()
);

insert into sites (name) values ('default');

create table keys (
    id         text        primary key check (id ~ '^[0-9a-f]{10}$'),
    kind       text        not null check (kind in ('write', 'read', 'admin')),
    site_id    smallint    references sites,
    hash       bytea       not null check (length(hash) = 32),
    label      text        not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    check (kind <> 'write' or site_id is not null)
);

comment on table sites is 'What is counted apart; 1 is the site of those who name none';
comment on table keys is 'Who may write and read; the keys themselves are known to their holders only';
comment on column keys.id is 'A part of the key, by which people speak of it';
comment on column keys.site_id is 'The only site that it is for; null: all of them';
comment on column keys.hash is 'SHA-256 of the whole key';
