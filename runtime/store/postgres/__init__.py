"""The store in a Postgres database that any number of machines share. Needs the extra `postgres` (asyncpg)."""
