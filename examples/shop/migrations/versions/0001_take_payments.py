"""Take payments: the table of transactions, and the indexes that a payment's features need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "transactions",
        sa.Column("transaction_id", sa.BigInteger, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("terminal_id", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.Float, nullable=False),
        sa.Column("fraud", sa.SmallInteger),
        sa.Column("approved", sa.Boolean),
    )
    op.create_index("transactions_of_customer", "transactions", ["customer_id", "at"])
    op.create_index("transactions_at_terminal", "transactions", ["terminal_id", "at"])
    op.create_index("transactions_by_time", "transactions", ["at"])


def downgrade() -> None:
    op.drop_table("transactions")
