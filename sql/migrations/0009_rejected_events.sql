-- Events that passed validation and that the database refused all the same. Nobody has met one yet;
-- they are kept for people to look at, since a refusal shows a defect of the validation.

create table rejected_events (
    event_id    uuid        primary key,
    rejected_at timestamptz not null default now(),
    site_id     smallint    not null,
    sqlstate    text,
    reason      text        not null,
    body        bytea       not null
);

comment on table rejected_events is 'Events that the database refused; their senders were answered 400';
comment on column rejected_events.body is
    'the event as JSON in UTF-8; bytes, since text can''t hold all that may be refused';
