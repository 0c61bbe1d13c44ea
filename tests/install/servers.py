"""Two database servers on the machine of the walk: how the bridge stands on them, and the disaster that the guide has no commands for.

Owns the looks into the database and the loss; must not hold a command of the guide.
"""

from tests.install.machine import Machine, WalkFailed, until

STANDING = """
    SELECT number || ' ' || coalesce((SELECT mode FROM modes WHERE scope = 'bridge'), 'normal') FROM generation
"""


def standing(machine: Machine, *, port: int) -> tuple[int, str]:
    """The generation that the database is of, and the bridge's mode. Raises WalkFailed."""
    number, mode = _ask(machine, STANDING, port=port, database="bridge").split()
    return int(number), mode


def must_stand(machine: Machine, *, port: int, as_told: tuple[int, str]) -> str:
    """That the bridge went over to the server at this port by itself. Raises WalkFailed."""
    until(lambda: standing(machine, port=port)[0] == as_told[0], f"the bridge does not stand at {as_told}")
    if (found := standing(machine, port=port)) != as_told:
        raise WalkFailed(f"the bridge stands at {found}, not at {as_told}")
    return f"generation {found[0]}, {found[1]}"


def lose(machine: Machine) -> None:
    """Commits of the second server do not wait any more; then it loses its power, and the first takes over with what it has."""
    machine.run("sed -i '/^synchronous_standby_names/d' /etc/postgresql/15/second/conf.d/two-servers.conf")
    machine.run("systemctl reload postgresql@15-second")
    known = "SELECT is_synchronous FROM generation"
    until(lambda: _ask(machine, known, port=5433, database="bridge") == "f", "the worker does not notice")
    machine.run("systemctl kill --signal=KILL postgresql@15-second")
    _ask(machine, "SELECT pg_promote()", port=5432)


def _ask(machine: Machine, query: str, *, port: int, database: str = "postgres") -> str:
    return machine.run(f"cd /; runuser -u postgres -- psql -p {port} -qAt {database} <<'END'\n{query}\nEND").strip()
