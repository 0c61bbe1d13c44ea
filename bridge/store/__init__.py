"""Everything SQL: engines, tables, migrations, one file per table family. Opens no transaction of its own accord; flows do."""
