-- Start: does the role own the schema, or may it make one where there is none?
select coalesce(
    (select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass('public.events')),
    has_schema_privilege('public', 'create')
)
