"""Runs the migrations against DATABASE_URL."""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context


def migrate() -> None:
    engine = sa.create_engine(os.environ.get("DATABASE_URL", "sqlite:///shop.db"))
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


migrate()
