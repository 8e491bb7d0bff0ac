-- Which database this is: a dump takes it along, and a service's spool on the local disk bears it, so
-- that events which were spooled for one database are never replayed into another.

create table database_identity (
    id     uuid    not null default gen_random_uuid(),
    is_one boolean primary key default true check (is_one)
);

comment on table database_identity is 'Which database this is; one row, made once';

insert into database_identity default values;
