"""Who may do more than is needed: the service's role, and everybody."""

from collections.abc import Iterator

from psycopg import Connection

from service.doctor.findings import Finding, ok, warning
from service.settings import Settings

TOLD = 3
"""So many rights are named, of those that are too many."""

# What everybody may read is nothing that this role was given.
EXCESS = """
with held as (
    select pg_class.oid::regclass as relation, privilege_type as privilege
    from pg_class cross join aclexplode(coalesce(relacl, acldefault('r', relowner)))
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')
      and case grantee when 0 then privilege_type <> 'SELECT' else pg_has_role(grantee, 'usage') end
      and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
    except
    select relation, privilege from service_rights()
)
select lower(privilege) || ' on ' || relation from held
union all
select 'create in this database' where has_database_privilege(current_database(), 'create')
union all
select 'create in the schema public'
where has_schema_privilege('public', 'create')
  and not has_schema_privilege('public', 'public', 'create')
union all
select 'erase users, without USERS_API'
where not %(users_api)s and has_function_privilege(
    'erase_user_events(text, timestamptz, timestamptz, smallint, integer)', 'execute'
)
order by 1
"""
IS_SUPER = "select current_user::text, rolsuper from pg_roles where rolname = current_user"
EVERYBODY_CREATES = "select has_schema_privilege('public', 'public', 'create')"


def check_rights(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Yield which rights are too many."""
    name, is_super = connection.execute(IS_SUPER).fetchone() or ("?", False)
    if not is_super:  # Of one that is, it is told already.
        values = {"users_api": settings.users_api}
        excess = [right for (right,) in connection.execute(EXCESS, values).fetchall()]
        if excess:
            more = f" and {len(excess) - TOLD} more" if len(excess) > TOLD else ""
            remedy = "Give the service a role with tallymark_service alone (docs/deployment.md)."
            found = f"{name} may do more than it needs: {', '.join(excess[:TOLD])}{more}"
            yield warning("rights", found, remedy)
    if connection.execute(EVERYBODY_CREATES).fetchone() == (True,):
        remedy = "As the schema's owner: revoke create on schema public from public."
        yield warning("rights", "Everybody may create in the schema public", remedy)
    yield ok("rights", "Nobody may do more than is needed")
